import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Who reads what an encoder writes. Nothing is ever held back: a reader that pauses would stop all renditions. */
export type TrackReader = {
  data(renditionId: string, chunk: Uint8Array): void;
  /** The encoder has closed the socket, or it broke. */
  end(renditionId: string): void;
};

/**
 * One unix socket per rendition, in a directory that only this user can enter. Each takes one connection, the
 * encoder's, and no other.
 */
export class TrackSockets {
  readonly #directory: string;
  readonly #servers = new Map<string, Server>();
  readonly #sockets = new Set<Socket>();
  readonly #ended: Promise<void>[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Listens for every rendition. The directory is removed again by {@link TrackSockets.close}. */
  static async listen(renditionIds: readonly string[], reader: TrackReader): Promise<TrackSockets> {
    // mkdtemp makes the directory with mode 0700.
    const sockets = new TrackSockets(await mkdtemp(join(tmpdir(), 'ladder-')));
    try {
      await Promise.all(renditionIds.map((id) => sockets.#listenFor(id, reader)));
    } catch (error) {
      await sockets.close();
      throw error;
    }
    return sockets;
  }

  /** The path to give to the encoder for a rendition. */
  pathOf(renditionId: string): string {
    return join(this.#directory, `${renditionId}.sock`);
  }

  /** Resolves when every socket that was connected has delivered all of its data and ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#ended);
  }

  /** Cuts what is still connected and removes the directory. May be called twice. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers.values()) server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #listenFor(renditionId: string, reader: TrackReader): Promise<void> {
    const server = createServer((socket) => {
      server.close();
      this.#sockets.add(socket);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#ended.push(promise);
      socket.on('data', (chunk) => reader.data(renditionId, chunk));
      // A reset says no more than an end: the encoder's exit tells why.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        reader.end(renditionId);
        resolve();
      });
    });
    server.maxConnections = 1;
    this.#servers.set(renditionId, server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.pathOf(renditionId), resolve);
    });
  }
}
