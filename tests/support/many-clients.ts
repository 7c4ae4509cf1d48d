import { Agent, request, type IncomingHttpHeaders } from 'node:http';

/** What one of many light clients got. */
export type ClientAnswer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Monotonic time at which its last byte came. */
  readonly atMs: number;
};

/** Clients over plain HTTP/1.1, each with a connection of its own, in one process. */
export class ManyClients {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1_000 });

  /** @throws what the socket throws: a reset, a refusal, or after `deadlineMs` an error that says so */
  get(
    url: string,
    headers: Readonly<Record<string, string>> = {},
    deadlineMs = 15_000,
  ): Promise<ClientAnswer> {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(deadlineMs);
      const asked = request(url, { agent: this.#agent, headers, signal }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
            atMs: performance.now(),
          });
        });
      });
      asked.on('error', reject);
      asked.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
