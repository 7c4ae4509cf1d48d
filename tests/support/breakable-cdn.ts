import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** What a CDN does wrong. */
export type Breakage =
  | { readonly kind: 'none' }
  /** Every answer has this status. */
  | { readonly kind: 'status'; readonly status: number }
  /** Accepts, and answers nothing any more; what was on its way stays there. */
  | { readonly kind: 'hangs' }
  /** Every connection is reset, new ones at their first request. */
  | { readonly kind: 'resets' }
  /** Media playlists stay as they are, with 200, whatever the directives say. */
  | { readonly kind: 'frozen' }
  /** No connection gets more than this. */
  | { readonly kind: 'slow'; readonly bytesPerSecond: number };

/** The way from players to a cache, on which things can be broken. */
export type BreakableCdn = {
  readonly url: string;
  readonly port: number;
  breakage: Breakage;
  /** Requests by URL since the last {@link forget}. */
  readonly asked: ReadonlyMap<string, number>;
  forget(): void;
  /** Stops listening and resets everybody: new connections get ECONNREFUSED. */
  refuse(): Promise<void>;
  /** Breaks nothing, and listens again on its port if it was not. */
  heal(): Promise<void>;
  close(): Promise<void>;
};

const SLICE_MS = 20;

/**
 * Starts a proxy before a cache (or an origin), on a free port of the loopback. It keeps connections, streams bodies and
 * changes nothing until it is told to break something; cheap enough for some hundred players.
 */
export async function startBreakableCdn(targetUrl: string): Promise<BreakableCdn> {
  const proxy = new BreakingProxy(new URL(targetUrl));
  await proxy.listen(0);
  return proxy;
}

class BreakingProxy implements BreakableCdn {
  readonly asked = new Map<string, number>();
  readonly #target: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1_000 });
  readonly #sockets = new Set<Socket>();
  readonly #frozen = new Map<string, Buffer>();
  #server: Server | undefined;
  #breakage: Breakage = { kind: 'none' };
  port = 0;

  constructor(target: URL) {
    this.#target = target;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get breakage(): Breakage {
    return this.#breakage;
  }

  set breakage(next: Breakage) {
    this.#breakage = next;
    this.#frozen.clear();
    if (next.kind === 'resets' || (next.kind === 'none' && this.#server !== undefined)) this.#resetSome(next);
  }

  forget(): void {
    this.asked.clear();
  }

  async listen(port: number): Promise<void> {
    const server = createServer({ keepAliveTimeout: 75_000 }, (incoming, response) =>
      this.#serve(incoming, response),
    );
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', 4_096, resolve);
    });
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  async refuse(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  async heal(): Promise<void> {
    this.breakage = { kind: 'none' };
    if (this.#server === undefined) await this.listen(this.port);
  }

  async close(): Promise<void> {
    await this.refuse();
    this.#agent.destroy();
  }

  /** Connections of the broken time would go on as they are: they are cut with its end, too. */
  #resetSome(next: Breakage): void {
    const hung = next.kind === 'resets' ? this.#sockets : new Set(this.#hung);
    this.#hung.clear();
    for (const socket of hung) socket.resetAndDestroy();
  }
  readonly #hung = new Set<Socket>();

  #serve(incoming: IncomingMessage, response: ServerResponse): void {
    const url = incoming.url ?? '/';
    this.asked.set(url, (this.asked.get(url) ?? 0) + 1);
    const breakage = this.#breakage;
    // Errors too, so that players in a browser see their status.
    response.setHeader('access-control-allow-origin', '*');
    switch (breakage.kind) {
      case 'resets':
        incoming.socket.resetAndDestroy();
        return;
      case 'hangs':
        this.#hung.add(incoming.socket);
        return;
      case 'status':
        response.writeHead(breakage.status, { 'cache-control': 'no-store' }).end();
        return;
      case 'frozen':
        this.#serveFrozen(incoming, response);
        return;
      case 'none':
      case 'slow':
        this.#forward(incoming, response);
    }
  }

  #forward(incoming: IncomingMessage, response: ServerResponse): void {
    const { hostname, port } = this.#target;
    const headers = { ...incoming.headers, connection: 'keep-alive' };
    const asked = request(
      { hostname, port, path: incoming.url, method: incoming.method, headers, agent: this.#agent },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        this.#relay(answer, response);
      },
    );
    asked.on('error', () => response.destroy());
    response.once('close', () => {
      if (!response.writableFinished) asked.destroy();
    });
    asked.end();
  }

  #relay(answer: IncomingMessage, response: ServerResponse): void {
    answer.on('error', () => response.destroy());
    const breakage = this.#breakage;
    if (breakage.kind !== 'slow') {
      answer.on('data', (chunk: Buffer) => {
        if (this.#breakage.kind === 'hangs') this.#hung.add(response.socket as Socket);
        else response.write(chunk);
      });
      answer.on('end', () => {
        if (this.#breakage.kind !== 'hangs') response.end();
      });
      return;
    }
    const slice = Math.ceil((breakage.bytesPerSecond * SLICE_MS) / 1_000);
    const chunks: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => chunks.push(chunk));
    answer.on('end', () => {
      let left = Buffer.concat(chunks);
      const timer = setInterval(() => {
        response.write(left.subarray(0, slice));
        left = left.subarray(slice);
        if (left.length > 0) return;
        clearInterval(timer);
        response.end();
      }, SLICE_MS);
      response.once('close', () => clearInterval(timer));
    });
  }

  #serveFrozen(incoming: IncomingMessage, response: ServerResponse): void {
    const path = (incoming.url ?? '/').split('?')[0] ?? '/';
    if (!path.endsWith('/index.m3u8')) return this.#forward(incoming, response);
    const old = this.#frozen.get(path);
    const send = (body: Buffer): void => {
      response.writeHead(200, { 'content-type': 'application/vnd.apple.mpegurl' }).end(body);
    };
    if (old !== undefined) return send(old);
    const { hostname, port } = this.#target;
    request({ hostname, port, path, agent: this.#agent }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const body = Buffer.concat(chunks);
        if (this.#breakage.kind === 'frozen') this.#frozen.set(path, body);
        send(body);
      });
    })
      .on('error', () => response.destroy())
      .end();
  }
}
