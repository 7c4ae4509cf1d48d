import { Agent, request, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { listen, type RunningHttpServer } from '#runtime/http/server.ts';
import { waitFor } from '#tests/support/wait-for.ts';

let server: RunningHttpServer;
let agent: Agent;
let held: ((text: string) => void)[];
let puts: number;

beforeEach(async () => {
  held = [];
  puts = 0;
  agent = new Agent({ keepAlive: true });
  server = await listen(
    async (incoming) => {
      if (incoming.method === 'PUT') {
        puts += 1;
        return new Response('taken');
      }
      if (!incoming.url.endsWith('/held')) return new Response('now');
      return new Response(await new Promise<string>((resolve) => held.push(resolve)));
    },
    { port: 0, host: '127.0.0.1', isKeptWhileDraining: ({ method }) => method === 'PUT' },
  );
});
afterEach(async () => {
  agent.destroy();
  await server.close(0);
});

type Answer = { readonly text: string; readonly connection: string | undefined };

function ask(path: string, method = 'GET', by: Agent = agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${server.url}${path}`, { agent: by, method }, (response: IncomingMessage) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ text, connection: response.headers.connection }));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

describe('a server that leaves', () => {
  it('answers who waits, closes their connections, and takes no new ones', async () => {
    const before = ask('/held');
    await waitFor('the first to wait', () => held.length === 1);
    const drained = server.drain({ graceMs: 5_000, lingerMs: 200 });
    const meanwhile = ask('/held');
    await waitFor('the second to wait', () => held.length === 2);
    expect(await ask('/at-once')).toEqual({ text: 'now', connection: 'close' });
    await waitFor('connections to be refused', async () => {
      const other = new Agent();
      return await ask('/at-once', 'GET', other).then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
      );
    });
    for (const answer of held) answer('advanced');
    expect(await before).toEqual({ text: 'advanced', connection: 'close' });
    expect(await meanwhile).toEqual({ text: 'advanced', connection: 'close' });
    await drained;
  });

  it('keeps the connections on which comes what the others wait for', async () => {
    const uploads = new Agent({ keepAlive: true, maxSockets: 1 });
    expect((await ask('/part', 'PUT', uploads)).connection).toBe('keep-alive');
    const waiting = ask('/held');
    await waitFor('it to wait', () => held.length === 1);
    const drained = server.drain({ graceMs: 5_000, lingerMs: 1 });
    await waitFor('connections to be refused', () => !server.server.listening);
    expect((await ask('/part', 'PUT', uploads)).connection).toBe('keep-alive');
    expect(puts).toBe(2);
    for (const answer of held) answer('advanced');
    expect((await waiting).text).toBe('advanced');
    await drained;
    uploads.destroy();
  });

  it('closes idle connections', async () => {
    await ask('/at-once');
    const [idle] = Object.values(agent.freeSockets).flat();
    await server.drain({ graceMs: 5_000, lingerMs: 1 });
    await waitFor('the idle connection to close', () => idle?.destroyed === true);
    expect(held).toEqual([]);
  });

  it('does not linger when nobody is connected', async () => {
    await server.drain({ graceMs: 60_000, lingerMs: 60_000 });
    expect(server.server.listening).toBe(false);
    await server.close(0);
  });

  it('gives up on what is never answered', async () => {
    const never = ask('/held').catch((error: NodeJS.ErrnoException) => error.code);
    await waitFor('it to wait', () => held.length === 1);
    await server.drain({ graceMs: 50, lingerMs: 1 });
    await server.close(0);
    expect(await never).toBe('ECONNRESET');
  });
});
