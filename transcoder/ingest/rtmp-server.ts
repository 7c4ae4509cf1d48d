import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import Context from 'node-media-server/src/core/context.js';
import libraryLogger from 'node-media-server/src/core/logger.js';
import { ConnectionGate } from './connection-gate.ts';
import type { IngestLimits } from './ingest-settings.ts';
import { RtmpConnection, type RtmpConnectionDeps } from './rtmp-connection.ts';

/** The RTMP port cannot be had. */
export class RtmpListenError extends Error {
  readonly code = 'listen_failed';
  override readonly name = 'RtmpListenError';
}

const BACKLOG = 511;

/** The RTMP port: takes connections within the limits and closes them all at the end. */
export class RtmpServer {
  readonly #limits: IngestLimits;
  readonly #deps: RtmpConnectionDeps;
  readonly #gate: ConnectionGate;
  readonly #server: Server;
  readonly #connections = new Map<Socket, RtmpConnection>();

  constructor(limits: IngestLimits, deps: RtmpConnectionDeps) {
    this.#limits = limits;
    this.#deps = deps;
    this.#gate = new ConnectionGate(limits, deps.clock);
    this.#server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket));
    Context.config = {};
    // Its lines hold stream keys, and anybody can make it write them.
    libraryLogger.log = () => deps.metrics.libraryMessages.inc();
  }

  /**
   * Begins to listen.
   *
   * @returns the port
   * @throws {RtmpListenError}
   */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(toListenError(error, host, port)));
      this.#server.listen({ host, port, backlog: BACKLOG }, resolve);
    });
    // After this, errors of the server are those of single accepts (no more file descriptors): the next may do better.
    this.#server.on('error', (error: NodeJS.ErrnoException) =>
      this.#deps.logger.error({ code: error.code }, 'a connection could not be accepted'),
    );
    return (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and ends every connection. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections.values()) connection.shutDown();
    await closed;
  }

  #onConnection(socket: Socket): void {
    const { metrics } = this.#deps;
    const remoteAddress = socket.remoteAddress;
    if (remoteAddress === undefined) return void socket.destroy();
    const refusal = this.#gate.admit(remoteAddress);
    if (refusal !== undefined) {
      metrics.connectionsRefused.inc({ reason: refusal });
      socket.on('error', () => {});
      // A reset leaves nothing behind here, where a flood would pile up sockets in TIME_WAIT.
      return void socket.resetAndDestroy();
    }
    metrics.connectionsAccepted.inc();
    metrics.connections.set(this.#gate.open);
    this.#connections.set(socket, new RtmpConnection(socket, this.#limits, this.#deps));
    socket.once('close', () => {
      this.#connections.delete(socket);
      this.#gate.release(remoteAddress);
      metrics.connections.set(this.#gate.open);
    });
  }
}

function toListenError(error: NodeJS.ErrnoException, host: string, port: number): RtmpListenError {
  if (error.code === 'EADDRINUSE')
    return new RtmpListenError(
      `RTMP port ${host}:${port} is taken by another program; stop it or set RTMP_PORT (0 takes any free one)`,
    );
  return new RtmpListenError(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error });
}
