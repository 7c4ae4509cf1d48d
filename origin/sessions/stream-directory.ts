import type { StreamAccess } from '#origin/registry/stream-record.ts';

/** What is kept of a stream. */
export type DirectoryEntry = { readonly id: string; readonly name: string; readonly access: StreamAccess };

/**
 * What viewers ask for all the time, of all streams, in memory: it must neither wait for the database nor fail with it.
 * Bounded by the number of streams that the registry allows.
 */
export class StreamDirectory {
  readonly #entries = new Map<string, DirectoryEntry>();

  constructor(streams: readonly DirectoryEntry[]) {
    for (const stream of streams) this.put(stream);
  }

  put({ id, name, access }: DirectoryEntry): void {
    this.#entries.set(id, { id, name, access });
  }

  delete(streamId: string): void {
    this.#entries.delete(streamId);
  }

  ids(): string[] {
    return [...this.#entries.keys()];
  }

  isKnown(streamId: string): boolean {
    return this.#entries.has(streamId);
  }

  /** The stream's name; its id as long as its name is not known here. */
  nameOf(streamId: string): string {
    return this.#entries.get(streamId)?.name ?? streamId;
  }

  /** A stream that is not known here has nothing to show, so nothing to protect. */
  accessOf(streamId: string): StreamAccess {
    return this.#entries.get(streamId)?.access ?? 'public';
  }
}
