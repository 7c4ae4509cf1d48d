import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startFaultProxy, type FaultProxy } from './fault-proxy.ts';
import { waitFor, within } from './wait-for.ts';

const PAYLOAD = Buffer.alloc(100_000, 'abcdefghij');

/** A server that answers every line with PAYLOAD. */
async function startAnswering(): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', () => socket.write(PAYLOAD));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

type Client = {
  readonly socket: Socket;
  received(): Buffer;
  readonly ended: Promise<unknown>;
  error(): string | undefined;
};

function ask(port: number): Client {
  const socket = connect(port, '127.0.0.1', () => socket.write('go\n'));
  const chunks: Buffer[] = [];
  let code: string | undefined;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', (error: NodeJS.ErrnoException) => (code = error.code));
  return {
    socket,
    received: () => Buffer.concat(chunks),
    ended: new Promise((resolve) => {
      socket.once('end', () => resolve('end'));
      socket.once('close', () => resolve('close'));
    }),
    error: () => code,
  };
}

describe('fault proxy', () => {
  let server: Server;
  let proxy: FaultProxy;
  const clients: Client[] = [];
  const open = (): Client => {
    const client = ask(proxy.port);
    clients.push(client);
    return client;
  };
  const whole = (client: Client): Promise<boolean> =>
    waitFor('the whole answer', () => client.received().length === PAYLOAD.length);

  beforeEach(async () => {
    server = await startAnswering();
    proxy = await startFaultProxy((server.address() as AddressInfo).port);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.socket.destroy();
    await proxy.close();
    server.close();
  });

  it('forwards bytes unchanged', async () => {
    const client = open();
    await whole(client);
    expect(client.received().equals(PAYLOAD)).toBe(true);
  });

  it('delays each direction', async () => {
    proxy.set({ up: { delayMs: 120 }, down: { delayMs: 120, jitterMs: 20 } });
    const startMs = performance.now();
    const client = open();
    await waitFor('the first byte', () => client.received().length > 0, { intervalMs: 2 });
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(235);
    await whole(client);
    expect(client.received().equals(PAYLOAD)).toBe(true);
  });

  it('throttles to the pace asked for', async () => {
    proxy.set({ down: { bytesPerSecond: 200_000 } });
    const startMs = performance.now();
    await whole(open());
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(400);
  });

  it('ends after N bytes', async () => {
    proxy.set({ down: { truncateAfterBytes: 1_234 } });
    const client = open();
    expect(await within('the end', 3_000, client.ended)).toBe('end');
    expect(client.received().length).toBe(1_234);
  });

  it('stalls after N bytes without closing', async () => {
    proxy.set({ down: { truncateAfterBytes: 10, truncateWith: 'stall' } });
    const client = open();
    await waitFor('10 bytes', () => client.received().length === 10);
    expect(client.socket.closed).toBe(false);
  });

  it('flips one bit', async () => {
    proxy.set({ down: { flipBitAtByte: 7 } });
    const client = open();
    await whole(client);
    const received = client.received();
    expect([...received.keys()].filter((at) => received[at] !== PAYLOAD[at])).toEqual([7]);
  });

  it('swallows everything in a blackhole', async () => {
    proxy.set({ blackhole: true });
    const client = open();
    await waitFor('the connection', () => proxy.accepted === 1);
    await expect(within('an answer', 300, client.ended)).rejects.toThrow('an answer');
    expect(client.received().length).toBe(0);
  });

  it('freezes and goes on without losing a byte', async () => {
    proxy.set({ freeze: true });
    const client = open();
    await expect(within('an answer', 200, client.ended)).rejects.toThrow('an answer');
    expect(client.received().length).toBe(0);
    proxy.set({});
    await whole(client);
    expect(client.received().equals(PAYLOAD)).toBe(true);
  });

  it('refuses, resets, and heals on the same port', async () => {
    const client = open();
    await whole(client);
    await proxy.refuse();
    await within('the reset', 3_000, client.ended);
    const refused = open();
    await waitFor('the refusal', () => refused.error());
    expect(refused.error()).toBe('ECONNREFUSED');
    await proxy.heal();
    await whole(open());
    proxy.set({ reset: true });
    const reset = open();
    await waitFor('the reset', () => reset.error());
    expect(reset.error()).toBe('ECONNRESET');
  });

  it('closes half of a connection', async () => {
    const client = open();
    await whole(client);
    proxy.halfClose();
    expect(await within('the end', 3_000, client.ended)).toBe('end');
  });

  it('swallows the share of connections asked for', async () => {
    const lossy = await startFaultProxy((server.address() as AddressInfo).port, () => 0.01);
    lossy.set({ lossOfConnections: 0.02 });
    const client = ask(lossy.port);
    clients.push(client);
    await waitFor('the connection', () => lossy.accepted === 1);
    await expect(within('an answer', 200, client.ended)).rejects.toThrow('an answer');
    await lossy.close();
  });
});
