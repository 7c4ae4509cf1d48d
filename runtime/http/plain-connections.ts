import { STATUS_CODES, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { PLAIN_REQUEST_BYTES_MAX, readPlainRequest, type PlainRequest } from '#runtime/http/plain-request.ts';
import type { SlowReaders } from '#runtime/http/slow-readers.ts';

/** An answer, its length included in the headers. The body is shared by all who get it; nobody may write to it. */
export type PlainAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | null;
};

/** Whoever waits for an answer. */
export type PlainClient = {
  readonly signal: AbortSignal;
  readonly address: string | undefined;
  onGone(gone: () => void): (() => void) | undefined;
};

/**
 * Answers plain requests; resolves with undefined when the client has gone.
 *
 * @returns undefined when the request is for somebody else
 */
export type PlainHandler = (
  request: PlainRequest,
  client: PlainClient,
) => Promise<PlainAnswer | undefined> | undefined;

export type PlainConnectionsOptions = {
  readonly handler: PlainHandler;
  /** Longest until the first request, and between two, ms. */
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly slowReaders?: Pick<SlowReaders, 'watchSocket'>;
};

/** Bodies up to here go out in one piece with their head: one copy a second costs less than two buffers per answer. */
const ONE_PIECE_BYTES_MAX = 64 * 1024;
/** How many of these pieces are kept; what is asked for by many is asked for now. */
const PIECES_KEPT_MAX = 64;
const SWEEP_MS = 1_000;

/**
 * Answers plain requests on the bare socket, before Node's HTTP server sees them: its objects for request and response cost
 * more than all the rest of an answer that thousands are waiting for. The first request of a connection that is anything
 * else hands the connection, with all its bytes, to Node's server for good.
 */
export class PlainConnections {
  readonly #options: PlainConnectionsOptions;
  readonly #handOver: (socket: Socket) => void;
  readonly #open = new Set<PlainConnection>();
  readonly #heads = new Heads();
  readonly #sweep: NodeJS.Timeout;
  #closing = false;

  /** Takes the connections of a server that is not listening yet. */
  constructor(server: Server, options: PlainConnectionsOptions) {
    this.#options = options;
    const listeners = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    this.#handOver = (socket) => {
      for (const listener of listeners) listener.call(server, socket);
    };
    server.on('connection', (socket: Socket) => this.#take(socket));
    this.#sweep = setInterval(() => this.#closeIdle(performance.now()), SWEEP_MS);
    this.#sweep.unref();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Ports of the clients that wait for an answer. */
  get busyPorts(): ReadonlySet<number | undefined> {
    return new Set([...this.#open].filter(({ isBusy }) => isBusy).map(({ port }) => port));
  }

  /** From now on every connection ends with its next answer. */
  leave(): void {
    this.#closing = true;
  }

  /** Ends connections without a request; those with one end after its answer. */
  close(): void {
    this.#closing = true;
    clearInterval(this.#sweep);
    this.#closeIdle(Number.POSITIVE_INFINITY);
  }

  #take(socket: Socket): void {
    if (socket.destroyed) return;
    const connection: PlainConnection = new PlainConnection(socket, {
      ...this.#options,
      heads: this.#heads,
      isClosing: () => this.#closing,
      handOver: () => {
        this.#open.delete(connection);
        this.#handOver(socket);
      },
      onClose: () => this.#open.delete(connection),
    });
    this.#open.add(connection);
  }

  #closeIdle(nowMs: number): void {
    const { headersTimeoutMs, keepAliveTimeoutMs } = this.#options;
    for (const connection of this.#open) {
      if (connection.isBusy) continue;
      const allowedMs = connection.hasAsked ? keepAliveTimeoutMs : headersTimeoutMs;
      if (nowMs - connection.idleSinceMs > allowedMs) connection.end();
    }
  }
}

type ConnectionDeps = {
  readonly handler: PlainHandler;
  readonly heads: Heads;
  readonly slowReaders?: Pick<SlowReaders, 'watchSocket'>;
  readonly isClosing: () => boolean;
  readonly handOver: () => void;
  readonly onClose: () => void;
};

class PlainConnection implements PlainClient {
  readonly address: string | undefined;
  readonly port: number | undefined;
  hasAsked = false;
  isBusy = false;
  idleSinceMs = performance.now();
  readonly #socket: Socket;
  readonly #deps: ConnectionDeps;
  readonly #gone = new Set<() => void>();
  /** What came while an answer was awaited. */
  #early: Buffer | undefined;

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.address = socket.remoteAddress;
    this.port = socket.remotePort;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** Of the request of the moment. */
  get signal(): AbortSignal {
    const abort = new AbortController();
    if (this.onGone(() => abort.abort()) === undefined) abort.abort();
    return abort.signal;
  }

  onGone(gone: () => void): (() => void) | undefined {
    if (this.#socket.destroyed) return undefined;
    this.#gone.add(gone);
    return () => this.#gone.delete(gone);
  }

  end(): void {
    this.#socket.destroySoon();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!this.isBusy) {
      this.#ask(chunk);
      return;
    }
    this.#early = this.#early === undefined ? chunk : Buffer.concat([this.#early, chunk]);
    if (this.#early.length > PLAIN_REQUEST_BYTES_MAX) this.#socket.destroy();
  };

  /** As Node's own server does: who ends its side wants no answer any more. */
  readonly #onEnd = (): void => {
    if (this.isBusy) this.#socket.destroy();
    else this.#socket.end();
  };

  readonly #onError = (): void => void this.#socket.destroy();

  readonly #onClose = (): void => {
    this.#deps.onClose();
    for (const gone of this.#gone) gone();
    this.#gone.clear();
  };

  #ask(chunk: Buffer): void {
    const request = readPlainRequest(chunk);
    const answering = request === undefined ? undefined : this.#deps.handler(request, this);
    if (request === undefined || answering === undefined) {
      this.#handOver(chunk);
      return;
    }
    this.isBusy = true;
    this.hasAsked = true;
    void answering.then((answer) => this.#answer(request, answer));
  }

  #answer({ method }: PlainRequest, answer: PlainAnswer | undefined): void {
    const socket = this.#socket;
    this.#gone.clear();
    if (answer === undefined || socket.destroyed) {
      socket.destroy();
      return;
    }
    const isLast = this.#deps.isClosing();
    const body = method === 'HEAD' ? null : answer.body;
    if (body === null) socket.write(this.#deps.heads.of(answer, isLast));
    else if (body.length <= ONE_PIECE_BYTES_MAX) socket.write(this.#deps.heads.whole(answer, body, isLast));
    else {
      socket.cork();
      socket.write(this.#deps.heads.of(answer, isLast));
      socket.write(body);
      socket.uncork();
    }
    if (isLast) {
      socket.end();
      return;
    }
    if (socket.writableLength > 0) this.#deps.slowReaders?.watchSocket(socket, body?.length ?? 0);
    this.isBusy = false;
    this.idleSinceMs = performance.now();
    const early = this.#early;
    if (early === undefined) return;
    this.#early = undefined;
    this.#ask(early);
  }

  #handOver(chunk: Buffer): void {
    const socket = this.#socket;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.pause();
    socket.unshift(chunk);
    this.#deps.handOver();
    socket.resume();
  }
}

type Prepared = { head: Buffer | undefined; whole: Buffer | undefined; second: number; isLast: boolean };

/** The bytes of answers that are given to many, made once a second because of their Date. @spec RFC 9110 §6.6.1 */
class Heads {
  readonly #prepared = new WeakMap<PlainAnswer, Prepared>();
  readonly #pieces: Prepared[] = [];
  #second = 0;
  #date = '';

  of(answer: PlainAnswer, isLast: boolean): Buffer {
    const prepared = this.#of(answer, isLast);
    prepared.head ??= this.#write(answer, isLast);
    return prepared.head;
  }

  whole(answer: PlainAnswer, body: Uint8Array<ArrayBuffer>, isLast: boolean): Buffer {
    const prepared = this.#of(answer, isLast);
    if (prepared.whole === undefined) {
      prepared.whole = Buffer.concat([this.#write(answer, isLast), body]);
      this.#pieces.push(prepared);
      if (this.#pieces.length > PIECES_KEPT_MAX) this.#forgetOldest();
    }
    return prepared.whole;
  }

  #forgetOldest(): void {
    const oldest = this.#pieces.shift();
    if (oldest !== undefined) oldest.whole = undefined;
  }

  #of(answer: PlainAnswer, isLast: boolean): Prepared {
    const nowMs = Date.now();
    const second = Math.floor(nowMs / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(nowMs).toUTCString();
    }
    const known = this.#prepared.get(answer);
    if (known !== undefined && known.second === second && known.isLast === isLast) return known;
    const fresh: Prepared = { head: undefined, whole: undefined, second, isLast };
    this.#prepared.set(answer, fresh);
    return fresh;
  }

  #write({ status, headers }: PlainAnswer, isLast: boolean): Buffer {
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`];
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    lines.push(`date: ${this.#date}`, isLast ? 'connection: close' : 'connection: keep-alive');
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  }
}
