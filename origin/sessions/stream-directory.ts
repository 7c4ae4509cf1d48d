/**
 * The ids and names of all streams, in memory: what viewers ask for all the time must neither wait for the database nor
 * fail with it. Bounded by the number of streams that the registry allows.
 */
export class StreamDirectory {
  readonly #names = new Map<string, string>();

  constructor(streams: readonly { readonly id: string; readonly name: string }[]) {
    for (const { id, name } of streams) this.#names.set(id, name);
  }

  put(stream: { readonly id: string; readonly name: string }): void {
    this.#names.set(stream.id, stream.name);
  }

  delete(streamId: string): void {
    this.#names.delete(streamId);
  }

  isKnown(streamId: string): boolean {
    return this.#names.has(streamId);
  }

  /** The stream's name; its id as long as its name is not known here. */
  nameOf(streamId: string): string {
    return this.#names.get(streamId) ?? streamId;
  }
}
