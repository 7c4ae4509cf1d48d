import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Sql } from '#runtime/postgres/connection.ts';
import { violatedConstraint } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { appendAudit } from '#origin/registry/audit-table.ts';
import type { Idempotency } from '#origin/registry/idempotency-table.ts';
import { lockKeys } from '#origin/registry/publish-sessions-table.ts';
import { changeRegistry, type Changed } from '#origin/registry/registry-change.ts';
import type { SealedJson } from '#origin/registry/sealed-json.ts';
import { randomName, type StreamKeys } from '#origin/registry/stream-keys.ts';
import { deleteKey, putKey, readActiveKeys } from '#origin/registry/stream-keys-table.ts';
import type { Actor, StreamKeyRecord, StreamRecord, StreamSettings } from '#origin/registry/stream-record.ts';
import {
  countStreams,
  deleteStream,
  findStream,
  insertStream,
  listStreamNames,
  listStreams,
  lockStream,
  updateStream,
  type DirectoryEntry,
  type ListPosition,
} from '#origin/registry/streams-table.ts';
import { tenantNotFound } from '#origin/registry/tenant-registry.ts';
import { lockTenant } from '#origin/registry/tenants-table.ts';

export type StreamRegistryDeps = {
  readonly database: Database;
  readonly keys: StreamKeys;
  readonly box: SealedJson;
  readonly clock: Clock;
};

/** A stream that is given no name is called by its id. */
export type UnnamedSettings = Omit<StreamSettings, 'name'> & { readonly name?: string };

/** How a stream's key is to change: a new one made by us, or one that the owner has chosen. */
export type KeyChange = {
  /** undefined: make one. */
  readonly chosen?: string | undefined;
  /** How long the key so far stays valid. */
  readonly graceS?: number;
  /** How long the new key is valid; undefined: until it is replaced. */
  readonly lifetimeS?: number | undefined;
};

/** A stream and, when a key was made or chosen with it, that key: the only time it is seen. */
export type StreamAndKey = {
  readonly stream: StreamRecord;
  readonly keys: readonly StreamKeyRecord[];
  readonly streamKey?: string;
};

/** The streams and their keys in PostgreSQL. Every change is one transaction together with its audit. */
export class StreamRegistry {
  readonly #deps: StreamRegistryDeps;
  readonly #streamsMax: number;

  /** @param streamsMax streams that a tenant may have whose own limit says nothing else */
  constructor(streamsMax: number, deps: StreamRegistryDeps) {
    this.#streamsMax = streamsMax;
    this.#deps = deps;
  }

  /**
   * @param id chosen by the client; undefined makes a random one of 12 characters
   * @throws {ProblemError} 409 `stream_exists`, `stream_key_taken` or `streams_exhausted`; 422 `idempotency_key_reused`
   */
  create(
    actor: Actor,
    wanted: {
      readonly id?: string | undefined;
      readonly settings: UnnamedSettings;
      readonly key: KeyChange;
    },
    idempotency?: Idempotency,
  ): Promise<Changed<StreamAndKey>> {
    return this.#change(actor, idempotency, async (sql, nowMs) => {
      const tenant = await lockTenant(sql, actor.tenantId);
      if (tenant === undefined) throw tenantNotFound(actor.tenantId);
      const streamsMax = tenant.streamsMax ?? this.#streamsMax;
      if ((await countStreams(sql, actor.tenantId)) >= streamsMax)
        throw new ProblemError(409, 'streams_exhausted', `There may be ${streamsMax} streams; delete one.`);
      const id = wanted.id ?? randomName();
      const stream = { id, name: id, ...wanted.settings, createdAtMs: nowMs, updatedAtMs: nowMs };
      await insertStream(sql, actor.tenantId, stream).catch((error: unknown) => {
        if (violatedConstraint(error) !== 'streams_pkey') throw error;
        throw new ProblemError(409, 'stream_exists', `There is a stream ${id} already.`);
      });
      const streamKey = await this.#putKey(sql, id, wanted.key, nowMs);
      await appendAudit(sql, actor, nowMs, { action: 'stream.created', streamId: id, after: stream });
      return { stream, keys: await readActiveKeys(sql, id, nowMs), streamKey };
    });
  }

  /** Newest first. */
  list(tenantId: string, limit: number, after?: ListPosition): Promise<StreamRecord[]> {
    return this.#deps.database.run(({ sql }) => listStreams(sql, tenantId, limit, after));
  }

  /** What the directory keeps of all tenants' streams. */
  names(): Promise<DirectoryEntry[]> {
    return this.#deps.database.run(({ sql }) => listStreamNames(sql));
  }

  /** @throws {ProblemError} 404 `stream_not_found` */
  get(tenantId: string, id: string): Promise<StreamAndKey> {
    return this.#deps.database.run(async ({ sql }) => ({
      stream: (await findStream(sql, tenantId, id)) ?? notFound(id),
      keys: await readActiveKeys(sql, id, this.#deps.clock.nowMs()),
    }));
  }

  /**
   * Changes what is given and leaves the rest.
   *
   * @param check refuses settings that do not go together, by throwing
   * @throws {ProblemError} 404 `stream_not_found`, 409 `stream_key_taken`
   */
  async update(
    actor: Actor,
    id: string,
    changes: Partial<StreamSettings>,
    check: (settings: StreamSettings) => void,
    key?: KeyChange,
  ): Promise<StreamAndKey> {
    const changed = await this.#change(actor, undefined, async (sql, nowMs) => {
      const before = (await lockStream(sql, actor.tenantId, id)) ?? notFound(id);
      const stream = { ...before, ...changes, updatedAtMs: nowMs };
      check(stream);
      await updateStream(sql, actor.tenantId, stream);
      await appendAudit(sql, actor, nowMs, { action: 'stream.updated', streamId: id, before, after: stream });
      const streamKey = key && (await this.#changeKey(sql, actor, id, key, nowMs));
      const keys = await readActiveKeys(sql, id, nowMs);
      return { stream, keys, ...(streamKey === undefined ? {} : { streamKey }) };
    });
    return changed.result;
  }

  /** @throws {ProblemError} 404 `stream_not_found`, 409 `stream_key_taken`, 422 `idempotency_key_reused` */
  rotateKey(
    actor: Actor,
    id: string,
    key: KeyChange,
    idempotency?: Idempotency,
  ): Promise<Changed<StreamAndKey>> {
    return this.#change(actor, idempotency, async (sql, nowMs) => {
      const stream = (await lockStream(sql, actor.tenantId, id)) ?? notFound(id);
      const streamKey = await this.#changeKey(sql, actor, id, key, nowMs);
      return { stream, keys: await readActiveKeys(sql, id, nowMs), streamKey };
    });
  }

  /** Ends one of two keys. @throws {ProblemError} 404 `stream_not_found`, `stream_key_not_found`, 409 `stream_key_last` */
  async endKey(actor: Actor, id: string, keyId: string): Promise<void> {
    await this.#change(actor, undefined, async (sql, nowMs) => {
      if ((await lockStream(sql, actor.tenantId, id)) === undefined) notFound(id);
      const before = { keys: await readActiveKeys(sql, id, nowMs) };
      if (!before.keys.some((key) => key.id === keyId))
        throw new ProblemError(404, 'stream_key_not_found', `Stream ${id} has no key ${keyId}.`);
      if (before.keys.length === 1)
        throw new ProblemError(409, 'stream_key_last', 'This is the only key; make another one first.');
      await deleteKey(sql, id, keyId);
      const after = { keys: await readActiveKeys(sql, id, nowMs) };
      await appendAudit(sql, actor, nowMs, { action: 'stream.key_changed', streamId: id, before, after });
    });
  }

  /** @throws {ProblemError} 404 `stream_not_found` */
  async delete(actor: Actor, id: string): Promise<void> {
    await this.#change(actor, undefined, async (sql, nowMs) => {
      const before = (await lockStream(sql, actor.tenantId, id)) ?? notFound(id);
      await deleteStream(sql, actor.tenantId, id);
      await appendAudit(sql, actor, nowMs, { action: 'stream.deleted', streamId: id, before });
    });
  }

  /**
   * Makes sure that there is a stream with this id and that `streamKey` opens it, for a ready-made stream whose key is
   * kept outside. The newest key that the stream has stays valid too.
   *
   * @throws {ProblemError} 409 `stream_key_taken`
   */
  async ensure(
    actor: Actor,
    id: string,
    settings: UnnamedSettings,
    streamKey: string,
  ): Promise<StreamRecord> {
    const { keys } = this.#deps;
    const changed = await this.#change(actor, undefined, async (sql, nowMs) => {
      const found = await lockStream(sql, actor.tenantId, id);
      const stream = found ?? { id, name: id, ...settings, createdAtMs: nowMs, updatedAtMs: nowMs };
      if (found === undefined) await insertStream(sql, actor.tenantId, stream);
      const candidates = await lockKeys(sql, keys.possibleIds(streamKey), nowMs);
      if (candidates.some(({ streamId, digest }) => streamId === id && keys.matches(digest, streamKey)))
        return stream;
      const key = keys.choose(streamKey);
      if (!(await putKey(sql, id, key, nowMs, null))) throw keyTaken();
      const after = { keyId: key.keyId, ...(found === undefined ? { stream } : {}) };
      await appendAudit(sql, actor, nowMs, { action: 'stream.ensured', streamId: id, after });
      return stream;
    });
    return changed.result;
  }

  async #changeKey(sql: Sql, actor: Actor, id: string, key: KeyChange, nowMs: number): Promise<string> {
    const before = { keys: await readActiveKeys(sql, id, nowMs) };
    const streamKey = await this.#putKey(sql, id, key, nowMs);
    const after = { keys: await readActiveKeys(sql, id, nowMs) };
    await appendAudit(sql, actor, nowMs, { action: 'stream.key_changed', streamId: id, before, after });
    return streamKey;
  }

  async #putKey(sql: Sql, id: string, change: KeyChange, nowMs: number): Promise<string> {
    const { keys } = this.#deps;
    const key = change.chosen === undefined ? keys.generate() : keys.choose(change.chosen);
    const graceMs = (change.graceS ?? 0) * 1_000;
    const notAfterMs = change.lifetimeS === undefined ? null : nowMs + change.lifetimeS * 1_000;
    const keepUntilMs = graceMs > 0 ? nowMs + graceMs : undefined;
    if (!(await putKey(sql, id, key, nowMs, keepUntilMs, notAfterMs))) throw keyTaken();
    return key.streamKey;
  }

  #change<Result>(
    actor: Actor,
    idempotency: Idempotency | undefined,
    work: (sql: Sql, nowMs: number) => Promise<Result>,
  ): Promise<Changed<Result>> {
    return changeRegistry(this.#deps, actor, idempotency, work);
  }
}

function notFound(id: string): never {
  throw new ProblemError(404, 'stream_not_found', `There is no stream ${id}.`);
}

function keyTaken(): ProblemError {
  return new ProblemError(409, 'stream_key_taken', 'Another stream has this key; choose another one.', {
    fields: [{ field: 'streamKey', message: 'belongs to another stream' }],
  });
}
