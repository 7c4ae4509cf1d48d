/** What is stored under one key. */
export type StoredObject = { readonly bytes: Uint8Array<ArrayBuffer> };

/** How a call may be ended early. Every call has a deadline of its own besides. */
export type ObjectCall = { readonly signal?: AbortSignal };

/** What became of a {@link ObjectStore.put}: `exists` when the key was taken already, which is then left as it is. */
export type PutOutcome = 'stored' | 'exists';

/**
 * Whole objects under keys, written once and never changed: a folder ({@link FolderObjectStore}) or an S3-compatible
 * server ({@link S3ObjectStore}). What is written is visible as a whole or not at all. Nothing here retries for longer
 * than one call's deadline; those who must get something in keep it and try again.
 *
 * Keys are paths of {@link OBJECT_KEY_PATTERN}; every method throws {@link ObjectKeyError} for any other.
 */
export type ObjectStore = {
  /**
   * Writes an object, unless there is one under this key.
   *
   * @throws {ObjectStoreError} nothing is known of the object then; putting it again is harmless
   */
  put(key: string, bytes: Uint8Array<ArrayBuffer>, call?: ObjectCall): Promise<PutOutcome>;
  /** @returns undefined when there is none. @throws {ObjectStoreError} */
  get(key: string, call?: ObjectCall): Promise<StoredObject | undefined>;
  /** Removes objects; one that is not there is no failure. @throws {ObjectStoreError} some may be gone then */
  delete(keys: readonly string[], call?: ObjectCall): Promise<void>;
  /** Up to `limit` keys (at most 1,000) below a prefix that ends with `/`, in any order. @throws {ObjectStoreError} */
  list(prefix: string, limit: number, call?: ObjectCall): Promise<string[]>;
  /** Gives sockets back; calls under way fail. */
  close(): Promise<void>;
};

/** Segments of small letters, digits and harmless signs, none beginning with a dot: also a safe file name everywhere. */
export const OBJECT_KEY_PATTERN =
  /^(?=.{1,512}$)[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;

/** Most keys of one {@link ObjectStore.delete} request to a server, and of one {@link ObjectStore.list}. */
export const OBJECT_KEYS_PER_CALL_MAX = 1_000;

/** A key that could not be a file name or a URL; a mistake of the caller. */
export class ObjectKeyError extends Error {
  readonly code = 'object_key_invalid';
  override readonly name = 'ObjectKeyError';
}

/** `full`: no room. `unavailable`: away, slow or failing; later it may work. `aborted`: the caller's signal. */
export type ObjectStoreFailure = 'full' | 'unavailable' | 'aborted';

/** The store could not do it. */
export class ObjectStoreError extends Error {
  readonly code = 'object_store_failed';
  override readonly name = 'ObjectStoreError';
  readonly failure: ObjectStoreFailure;

  constructor(failure: ObjectStoreFailure, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.failure = failure;
  }
}

/** @throws {ObjectKeyError} */
export function assertObjectKey(key: string): void {
  if (!OBJECT_KEY_PATTERN.test(key))
    throw new ObjectKeyError(`${JSON.stringify(key.slice(0, 80))} cannot be the key of an object`);
}

/** @throws {ObjectKeyError} when it is no prefix of keys that ends with `/` */
export function assertObjectPrefix(prefix: string): void {
  if (!prefix.endsWith('/')) throw new ObjectKeyError('a prefix ends with /');
  assertObjectKey(prefix.slice(0, -1));
}
