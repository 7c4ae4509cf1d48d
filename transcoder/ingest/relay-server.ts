import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '#runtime/clock.ts';
import type { PublishEnd } from './incoming-publish.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { PacketLogReader } from './packet-log.ts';
import type { Publish } from './publish.ts';
import {
  encodeRelayFrame,
  RELAY_REQUEST_BYTES_MAX,
  RelayFrameDecoder,
  type RelayErrorCode,
} from './relay-frames.ts';

export type RelayServerDeps = {
  readonly clock: Clock;
  readonly metrics: IngestMetrics;
  /** Most readers of one publish. */
  readonly readersMax: number;
  readonly find: (sessionId: string) => Publish | undefined;
};

/** Longest wait for a reader's request. */
const REQUEST_TIMEOUT_MS = 5_000;
/** How long a reader has to take its last frames. */
const LINGER_MS = 1_000;
const CONNECTIONS_MAX = 1_024;

/**
 * Hands the packets of publishes to whoever may connect to its socket: workers pull, the ingest does not know them.
 * Nothing is queued per reader but what its socket holds.
 */
export class RelayServer {
  readonly #deps: RelayServerDeps;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(deps: RelayServerDeps) {
    this.#deps = deps;
    this.#server = createServer((socket) => this.#onConnection(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Listens on a unix socket; who may connect is decided by the permissions of its directory. */
  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, resolve);
    });
  }

  /** Lets readers take what they have coming for a second at most, then closes. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const force = this.#deps.clock.after(LINGER_MS, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await closed;
    force.cancel();
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    const decoder = new RelayFrameDecoder(RELAY_REQUEST_BYTES_MAX);
    const deadline = this.#deps.clock.after(REQUEST_TIMEOUT_MS, () => socket.destroy());
    let isServed = false;
    socket.on('data', (bytes) => {
      try {
        for (const frame of decoder.push(bytes)) {
          if (isServed || frame.type !== 'subscribe') return void socket.destroy();
          isServed = true;
          deadline.cancel();
          this.#serve(socket, frame.sessionId);
        }
      } catch {
        this.#deps.metrics.readersFailed.inc({ reason: 'request_invalid' });
        socket.destroy();
      }
    });
    socket.once('close', () => {
      deadline.cancel();
      this.#sockets.delete(socket);
    });
  }

  #serve(socket: Socket, sessionId: string): void {
    const { metrics, readersMax, find } = this.#deps;
    const publish = find(sessionId);
    if (publish === undefined) return this.#refuse(socket, 'session_unknown');
    if (publish.log.readerCount >= readersMax) return this.#refuse(socket, 'readers_exceeded');
    const reader = publish.log.openReader(() => pump());
    const pump = (): void => this.#pump(socket, reader, () => publish.endReason);
    metrics.readers.inc();
    socket.on('drain', pump);
    socket.once('close', () => {
      publish.log.closeReader(reader);
      metrics.readers.dec();
    });
    pump();
  }

  /** Writes until the socket has enough. */
  #pump(socket: Socket, reader: PacketLogReader, endReason: () => PublishEnd | undefined): void {
    if (socket.destroyed || socket.writableEnded) return;
    if (reader.hasFallenBehind) return this.#refuse(socket, 'reader_too_slow');
    while (!socket.writableNeedDrain) {
      const read = reader.read();
      if (read === 'empty') return;
      if (read === 'fell_behind') return this.#refuse(socket, 'reader_too_slow');
      if (read === 'ended')
        return this.#finish(socket, encodeRelayFrame({ type: 'end', reason: endReason() ?? 'lost' }));
      socket.cork();
      for (const frame of read.frames) socket.write(frame);
      socket.uncork();
    }
  }

  #refuse(socket: Socket, code: RelayErrorCode): void {
    this.#deps.metrics.readersFailed.inc({ reason: code });
    this.#finish(socket, encodeRelayFrame({ type: 'error', code }));
  }

  #finish(socket: Socket, frame: Buffer): void {
    socket.end(frame);
    const force = this.#deps.clock.after(LINGER_MS, () => socket.destroy());
    socket.once('close', () => force.cancel());
  }
}
