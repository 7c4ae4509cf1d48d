import type { StreamAccess } from '#origin/registry/stream-record.ts';
import type { DirectoryEntry } from '#origin/registry/streams-table.ts';

/**
 * What viewers ask for all the time, of all streams, in memory: it must neither wait for the database nor fail with it.
 * Bounded by the number of streams that the registry allows.
 */
export class StreamDirectory {
  readonly #entries = new Map<string, DirectoryEntry>();

  constructor(streams: readonly DirectoryEntry[]) {
    for (const stream of streams) this.put(stream);
  }

  put({ id, tenantId, name, access }: DirectoryEntry): void {
    this.#entries.set(id, { id, tenantId, name, access });
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

  /** Whose it is; undefined for a stream that is not known here. */
  tenantOf(streamId: string): string | undefined {
    return this.#entries.get(streamId)?.tenantId;
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
