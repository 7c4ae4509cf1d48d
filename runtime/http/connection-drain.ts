import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type {
  Http2SecureServer,
  Http2ServerRequest,
  Http2ServerResponse,
  ServerHttp2Session,
} from 'node:http2';
import { Server as NetServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { PlainConnections } from '#runtime/http/plain-connections.ts';

type Incoming = IncomingMessage | Http2ServerRequest;
type Outgoing = ServerResponse | Http2ServerResponse;

/** How often it is looked whether everybody has been answered. */
const LOOK_MS = 20;

/** In which the first request comes on a connection that has just been taken. */
const ARRIVAL_MS = 300;

/** How long a server may take to leave. */
export type DrainOptions = {
  /** Until it gives up on what has not been answered. */
  readonly graceMs: number;
  /** While new connections are still taken: load balancers need a moment to see that this server is leaving. */
  readonly lingerMs: number;
};

/** What is open on a server. */
export type OpenConnections = {
  readonly sockets: ReadonlySet<Socket>;
  readonly sessions: ReadonlySet<ServerHttp2Session>;
};

/**
 * Lets a server leave without an error for anybody: every request that has come in is answered, its connection is closed
 * with the answer (`Connection: close`, GOAWAY), then nothing more is taken. Clients find their next connection refused
 * and go elsewhere.
 */
export class ConnectionDrain {
  readonly #server: Server | Http2SecureServer;
  readonly #connections: OpenConnections;
  readonly #plain: Pick<PlainConnections, 'leave' | 'close' | 'busyPorts'> | undefined;
  readonly #isKept: (request: Incoming) => boolean;
  /** Responses under way, with the port of their client: the same in all layers of a connection. */
  readonly #open = new Map<Outgoing, number | undefined>();
  /** Ports of clients whose connections stay open. At most as many as there are ports. */
  readonly #keptPorts = new Set<number | undefined>();
  #isDraining = false;

  /**
   * @param plain connections whose requests {@link note} is not told of
   * @param isKept requests that the answers to others depend on: their connections stay open to the end
   */
  constructor(
    server: Server | Http2SecureServer,
    connections: OpenConnections,
    plain: Pick<PlainConnections, 'leave' | 'close' | 'busyPorts'> | undefined,
    isKept: (request: Incoming) => boolean = () => false,
  ) {
    this.#server = server;
    this.#connections = connections;
    this.#plain = plain;
    this.#isKept = isKept;
  }

  /** A request has come in. */
  note(incoming: Incoming, outgoing: Outgoing): void {
    const { remotePort } = incoming.socket;
    if (this.#isKept(incoming)) {
      this.#keptPorts.add(remotePort);
      return;
    }
    this.#open.set(outgoing, remotePort);
    outgoing.once('close', () => this.#open.delete(outgoing));
    if (this.#isDraining) closeWith(outgoing);
  }

  /** Resolves when everything but the kept requests has been answered, or when that takes too long. */
  async drain({ graceMs, lingerMs }: DrainOptions): Promise<void> {
    const endMs = performance.now() + graceMs;
    this.#isDraining = true;
    this.#plain?.leave();
    for (const outgoing of this.#open.keys()) closeWith(outgoing);
    this.#sayGoAway();
    if (this.#connections.sockets.size > 0) await delay(Math.min(lingerMs, graceMs));
    // Not the close of `http`: that would close the idle connections on which kept requests come.
    NetServer.prototype.close.call(this.#server);
    if (this.#connections.sockets.size > 0) await delay(Math.min(ARRIVAL_MS, graceMs));
    this.#sayGoAway();
    this.#closeIdle();
    this.#plain?.close();
    while (performance.now() < endMs && this.#busyPorts().size > 0) await delay(LOOK_MS);
  }

  #busyPorts(): ReadonlySet<number | undefined> {
    return new Set([...this.#open.values(), ...(this.#plain?.busyPorts ?? [])]);
  }

  #sayGoAway(): void {
    for (const session of this.#connections.sessions) session.close();
  }

  #closeIdle(): void {
    const busyPorts = this.#busyPorts();
    for (const socket of this.#connections.sockets)
      if (!busyPorts.has(socket.remotePort) && !this.#keptPorts.has(socket.remotePort)) socket.destroySoon();
  }
}

/** HTTP/2 closes its sessions instead. */
function closeWith(outgoing: Outgoing): void {
  if ('shouldKeepAlive' in outgoing) outgoing.shouldKeepAlive = false;
}
