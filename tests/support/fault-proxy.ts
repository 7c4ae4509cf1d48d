import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';

/** What is done to the bytes of one direction. Everything is off by default. */
export type DirectionFaults = {
  /** Added to every chunk. */
  readonly delayMs?: number;
  /** A random extra from 0 to this; order is kept. */
  readonly jitterMs?: number;
  /** Pace of the direction, per connection. */
  readonly bytesPerSecond?: number;
  /** After this many bytes of a connection the proxy ends the direction (see `truncateWith`). */
  readonly truncateAfterBytes?: number;
  /** `end` sends FIN to the receiver, `reset` sends RST to both; `stall` forwards nothing more. Default `end`. */
  readonly truncateWith?: 'end' | 'reset' | 'stall';
  /** Flips one bit of the byte at this offset of a connection. */
  readonly flipBitAtByte?: number;
};

/** How the proxy treats connections. */
export type Faults = {
  /** Client to server. */
  readonly up?: DirectionFaults;
  /** Server to client. */
  readonly down?: DirectionFaults;
  /** Accepts connections and swallows what comes; nothing ever comes back. */
  readonly blackhole?: boolean;
  /** Forwards nothing in either direction, on old connections too, until it is lifted; nothing is lost. */
  readonly freeze?: boolean;
  /** Answers every new connection, and the next byte of an old one, with RST. */
  readonly reset?: boolean;
  /** Part of new connections that are swallowed like in a blackhole, 0…1. */
  readonly lossOfConnections?: number;
};

/** A running proxy. */
export type FaultProxy = {
  readonly port: number;
  readonly url: string;
  /** Replaces all faults; applies to connections that exist too. */
  set(faults: Faults): void;
  /** Takes all faults away and listens again if it was refusing. */
  heal(): Promise<void>;
  /** Closes the listening socket and resets all connections: new ones get ECONNREFUSED. */
  refuse(): Promise<void>;
  /** Ends the server's half of every connection while the client's half stays open. */
  halfClose(): void;
  /** Resets every connection that exists; new ones are served. */
  resetAll(): void;
  readonly connections: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  readonly bytesDown: number;
  close(): Promise<void>;
};

/** Most bytes the proxy holds back per direction before it stops reading from the sender. */
const HELD_BYTES_MAX = 256 * 1024;

/**
 * A TCP proxy on a free port of the loopback that forwards to `target` and breaks things on the way.
 *
 * @param target the port on the loopback, or host and port
 * @param random source of randomness for jitter and loss, 0…1; pass a seeded one to repeat a run
 */
export async function startFaultProxy(
  target: number | { readonly host: string; readonly port: number },
  random: () => number = Math.random,
): Promise<FaultProxy> {
  const to = typeof target === 'number' ? { host: '127.0.0.1', port: target } : target;
  const links = new Set<Link>();
  let faults: Faults = {};
  let accepted = 0;
  let bytesDown = 0;

  const onConnection = (client: Socket): void => {
    accepted++;
    if (faults.reset === true) {
      client.resetAndDestroy();
      return;
    }
    const swallowed = faults.lossOfConnections !== undefined && random() < faults.lossOfConnections;
    const link = new Link(client, swallowed ? undefined : connect({ ...to, noDelay: true }), {
      faults: () => faults,
      random,
      countDown: (bytes) => (bytesDown += bytes),
      closed: () => links.delete(link),
    });
    links.add(link);
  };
  let server = await listenOn(0, onConnection);
  const { port } = server.address() as AddressInfo;
  let listening = true;

  const stopListening = async (): Promise<void> => {
    if (!listening) return;
    listening = false;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const link of links) link.reset();
    await closed;
  };

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    set: (next) => {
      faults = next;
      for (const link of links) link.faultsChanged();
    },
    heal: async () => {
      faults = {};
      for (const link of links) link.faultsChanged();
      if (listening) return;
      server = await listenOn(port, onConnection);
      listening = true;
    },
    refuse: stopListening,
    halfClose: () => {
      for (const link of links) link.halfClose();
    },
    resetAll: () => {
      for (const link of links) link.reset();
    },
    get connections() {
      return links.size;
    },
    get accepted() {
      return accepted;
    },
    get bytesDown() {
      return bytesDown;
    },
    close: stopListening,
  };
}

function listenOn(port: number, onConnection: (client: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false }, onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

type LinkContext = {
  faults(): Faults;
  random(): number;
  countDown(bytes: number): void;
  closed(): void;
};

/** A client's connection and the one to the server that belongs to it. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket | undefined;
  readonly #directions: Direction[] = [];

  constructor(client: Socket, server: Socket | undefined, context: LinkContext) {
    this.#client = client;
    this.#server = server;
    const gone = (): void => {
      this.reset();
      context.closed();
    };
    client.on('error', gone);
    client.on('close', gone);
    if (server === undefined) {
      client.resume();
      return;
    }
    server.on('error', gone);
    server.on('close', () => {
      // What the server sent before it closed is still on its way to the client.
      if (server.errored !== null) gone();
    });
    const abort = (): void => this.reset();
    this.#directions.push(
      new Direction(
        client,
        server,
        () => context.faults().up ?? {},
        context,
        abort,
        () => {},
      ),
      new Direction(
        server,
        client,
        () => context.faults().down ?? {},
        context,
        abort,
        (bytes) => context.countDown(bytes),
      ),
    );
  }

  faultsChanged(): void {
    for (const direction of this.#directions) direction.pump();
  }

  halfClose(): void {
    this.#client.end();
  }

  reset(): void {
    for (const direction of this.#directions) direction.stop();
    if (!this.#client.destroyed) this.#client.resetAndDestroy();
    if (this.#server !== undefined && !this.#server.destroyed) this.#server.resetAndDestroy();
  }
}

/** Bytes from one socket to another, late, slow, cut or bent. */
class Direction {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #faults: () => DirectionFaults;
  readonly #context: LinkContext;
  readonly #abort: () => void;
  readonly #count: (bytes: number) => void;
  readonly #held: { chunk: Buffer | 'end'; dueMs: number }[] = [];
  #heldBytes = 0;
  #passed = 0;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(
    from: Socket,
    to: Socket,
    faults: () => DirectionFaults,
    context: LinkContext,
    abort: () => void,
    count: (bytes: number) => void,
  ) {
    this.#from = from;
    this.#to = to;
    this.#faults = faults;
    this.#context = context;
    this.#abort = abort;
    this.#count = count;
    from.on('data', (chunk: Buffer) => this.#hold(chunk));
    from.on('end', () => this.#hold('end'));
    to.on('drain', () => this.pump());
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#held.length = 0;
  }

  #hold(chunk: Buffer | 'end'): void {
    if (this.#stopped) return;
    const { delayMs = 0, jitterMs = 0 } = this.#faults();
    const dueMs = Math.max(
      this.#lastDueMs,
      performance.now() + delayMs + (jitterMs === 0 ? 0 : this.#context.random() * jitterMs),
    );
    this.#lastDueMs = dueMs;
    this.#held.push({ chunk, dueMs });
    if (chunk !== 'end') this.#heldBytes += chunk.length;
    if (this.#heldBytes > HELD_BYTES_MAX) this.#from.pause();
    this.pump();
  }

  /** Forwards what is due. */
  pump(): void {
    clearTimeout(this.#timer);
    while (!this.#stopped) {
      const next = this.#held[0];
      if (next === undefined) return;
      const all = this.#context.faults();
      if (all.reset === true) {
        this.#abort();
        return;
      }
      if (all.freeze === true) return;
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), waitMs);
        return;
      }
      if (!this.#forward(next, all.blackhole === true)) return;
    }
  }

  /** Returns false when the direction has to wait. */
  #forward(next: { chunk: Buffer | 'end'; dueMs: number }, swallow: boolean): boolean {
    if (next.chunk === 'end') {
      this.#held.shift();
      if (!swallow && this.#to.writable) this.#to.end();
      return true;
    }
    const faults = this.#faults();
    const rate = faults.bytesPerSecond;
    // A throttled direction goes in slices of 20 ms.
    const slice = rate === undefined ? next.chunk.length : Math.max(1, Math.ceil(rate / 50));
    const piece = next.chunk.subarray(0, slice);
    if (piece.length === next.chunk.length) this.#held.shift();
    else next.chunk = next.chunk.subarray(slice);
    this.#heldBytes -= piece.length;
    if (this.#heldBytes <= HELD_BYTES_MAX && this.#from.isPaused()) this.#from.resume();
    if (swallow || !this.#to.writable) return true;
    const flowing = this.#write(piece, faults);
    if (rate !== undefined && !this.#stopped) {
      const following = this.#held[0];
      const dueMs = performance.now() + (piece.length / rate) * 1_000;
      if (following !== undefined) following.dueMs = Math.max(following.dueMs, dueMs);
      this.#lastDueMs = Math.max(this.#lastDueMs, dueMs);
    }
    return flowing;
  }

  #write(piece: Buffer, faults: DirectionFaults): boolean {
    const end = faults.truncateAfterBytes;
    const room = end === undefined ? piece.length : Math.max(0, Math.min(piece.length, end - this.#passed));
    let bytes = piece.subarray(0, room);
    const flipAt = faults.flipBitAtByte;
    if (flipAt !== undefined && flipAt >= this.#passed && flipAt < this.#passed + bytes.length) {
      bytes = Buffer.from(bytes);
      const index = flipAt - this.#passed;
      bytes.writeUInt8(bytes.readUInt8(index) ^ 1, index);
    }
    this.#passed += bytes.length;
    this.#count(bytes.length);
    const flowing = bytes.length === 0 || this.#to.write(bytes);
    if (room < piece.length) this.#truncate(faults.truncateWith ?? 'end');
    return flowing;
  }

  #truncate(how: 'end' | 'reset' | 'stall'): void {
    this.stop();
    if (how === 'reset') this.#abort();
    else if (how === 'end') this.#to.end();
    // Read on and drop, so that the sender does not notice.
    this.#from.resume();
  }
}
