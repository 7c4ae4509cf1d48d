import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PortsTakenError, checkPortsFree } from '#all-in-one/free-ports.ts';

describe('checkPortsFree', () => {
  const servers: Server[] = [];
  const ports: number[] = [];
  beforeEach(async () => {
    for (let count = 0; count < 2; count++) {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      servers.push(server);
      ports.push((server.address() as AddressInfo).port);
    }
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
    ports.length = 0;
  });
  const host = '127.0.0.1';

  it('is content with ports of 0, as often as they come', async () => {
    await expect(
      checkPortsFree([
        { name: 'A_PORT', port: 0, host },
        { name: 'B_PORT', port: 0, host },
      ]),
    ).resolves.toBeUndefined();
  });

  it('names every setting whose port is taken, one line each, without a stack', async () => {
    const error = await checkPortsFree([
      { name: 'A_PORT', port: ports[0] ?? 0, host },
      { name: 'B_PORT', port: ports[1] ?? 0, host },
    ]).catch((reason: unknown) => reason as Error);
    expect(error).toBeInstanceOf(PortsTakenError);
    const lines = (error as Error).message.split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(new RegExp(`^A_PORT: port ${ports[0]} is taken by another program`));
    expect(lines[1]).toMatch(/^B_PORT: /);
  });

  it('says it when two settings ask for the same port', async () => {
    const port = ports[0] ?? 0;
    await new Promise((resolve) => servers.shift()?.close(resolve));
    await expect(
      checkPortsFree([
        { name: 'A_PORT', port, host },
        { name: 'B_PORT', port, host },
      ]),
    ).rejects.toThrow(`B_PORT: port ${port} is asked for by A_PORT, too`);
  });

  it('says it when the address is not ours', async () => {
    await expect(
      checkPortsFree([{ name: 'A_PORT', port: ports[0] ?? 0, host: '192.0.2.1' }]),
    ).rejects.toThrow('192.0.2.1 is not an address of this machine');
  });
});
