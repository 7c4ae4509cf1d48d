import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { CACHED_NAMES_MAX, createNameResolver } from '#runtime/outbound/resolve-name.ts';
import type { ResolveName } from '#runtime/outbound/target-guard.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const never = new AbortController().signal;

/** An answer to a DNS question: A records, or NXDOMAIN without any. @spec RFC 1035 §4 */
function answer(question: Buffer, addresses: readonly string[]): Buffer {
  const end = question.indexOf(0, 12) + 5;
  const header = Buffer.alloc(12);
  question.copy(header, 0, 0, 2);
  header.writeUInt16BE(addresses.length === 0 ? 0x8183 : 0x8180, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(addresses.length, 6);
  const records = addresses.map((address) =>
    Buffer.concat([
      Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]),
      Buffer.from(address.split('.').map(Number)),
    ]),
  );
  return Buffer.concat([header, question.subarray(12, end), ...records]);
}

describe('createNameResolver', () => {
  let server: Socket;
  let clock: FakeClock;
  let resolve: ResolveName;
  let questions: number;
  let silent: boolean;

  beforeEach(async () => {
    questions = 0;
    silent = false;
    clock = new FakeClock();
    server = createSocket('udp4');
    server.on('message', (question, from) => {
      const isA = question.readUInt16BE(question.indexOf(0, 12) + 1) === 1;
      if (isA) questions++;
      if (silent) return;
      const known = question.includes('cdn') && isA;
      server.send(answer(question, known ? ['192.0.2.7', '192.0.2.8'] : []), from.port, from.address);
    });
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    resolve = createNameResolver({ clock, servers: [`127.0.0.1:${server.address().port}`] });
  });
  afterEach(() => {
    server.close();
  });

  it('gives all addresses and remembers them for a while', async () => {
    expect(await resolve('cdn.example', never)).toEqual(['192.0.2.7', '192.0.2.8']);
    await resolve('cdn.example', never);
    expect(questions).toBe(1);
    clock.advance(30_000);
    await resolve('cdn.example', never);
    expect(questions).toBe(2);
  });

  it('remembers a bounded number of names', async () => {
    for (let name = 0; name <= CACHED_NAMES_MAX; name++) await resolve(`cdn${name}.example`, never);
    await resolve('cdn0.example', never);
    expect(questions).toBe(CACHED_NAMES_MAX + 2);
  });

  it('falls back to the hosts file for names DNS does not know', async () => {
    expect(await resolve('localhost', never)).toContain('127.0.0.1');
  });

  it('refuses names nobody knows', async () => {
    await expect(resolve('nowhere.invalid', never)).rejects.toMatchObject({ code: 'name_not_resolved' });
  });

  it('ends at once when aborted while the name server is silent', async () => {
    silent = true;
    const abort = new AbortController();
    const waiting = resolve('cdn.example', abort.signal);
    const ending = waiting.then(String, String);
    await waitFor('the question', () => questions > 0);
    const startMs = performance.now();
    abort.abort(new Error('enough'));
    expect(await ending).toContain('enough');
    expect(performance.now() - startMs).toBeLessThan(500);
  });
});
