import { createServer } from 'node:net';

/** A port that a setting asks for. */
export type WantedPort = { readonly name: string; readonly port: number; readonly host: string };

/** Some ports cannot be had. The message has one line for each and names its setting. */
export class PortsTakenError extends Error {
  readonly code = 'ports_taken';
  override readonly name = 'PortsTakenError';
}

/**
 * Tries every port that is asked for before anything is started, so that a taken one is said at once, and all of them
 * together. Ports of 0 are always free.
 *
 * @throws {PortsTakenError}
 */
export async function checkPortsFree(wanted: readonly WantedPort[]): Promise<void> {
  const complaints: string[] = [];
  const claimed = new Map<number, string>();
  for (const { name, port, host } of wanted) {
    if (port === 0) continue;
    const other = claimed.get(port);
    if (other !== undefined) complaints.push(`${name}: port ${port} is asked for by ${other}, too`);
    else {
      claimed.set(port, name);
      const reason = await tryPort(port, host);
      if (reason !== undefined) complaints.push(`${name}: ${reason}`);
    }
  }
  if (complaints.length > 0) throw new PortsTakenError(complaints.join('\n'));
}

function tryPort(port: number, host: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(describe(error, port, host)));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

function describe(error: NodeJS.ErrnoException, port: number, host: string): string {
  if (error.code === 'EADDRINUSE')
    return `port ${port} is taken by another program; stop it or choose another port (0 takes any free one)`;
  if (error.code === 'EACCES') return `port ${port} may only be opened by root; choose one above 1023`;
  if (error.code === 'EADDRNOTAVAIL') return `${host} is not an address of this machine`;
  return `cannot listen on ${host}:${port} (${error.message})`;
}
