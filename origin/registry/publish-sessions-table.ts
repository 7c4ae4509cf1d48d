import type { LadderSettings } from '#protocol/ingest/publish-session.ts';
import type { Sql } from '#runtime/postgres/connection.ts';

/** A key that was found, with the stream it opens and all that a publish session needs to know of it. */
export type PublishableStream = {
  readonly streamId: string;
  readonly tenantId: string;
  readonly keyId: string;
  readonly segmentDurationMs: number;
  readonly partDurationMs: number;
  readonly reconnectWindowS: number;
  readonly dvrWindowS: number;
  readonly retentionS: number;
  readonly ladder: LadderSettings;
  /** Highest media sequence number recorded under this stream id, 0 if none. */
  readonly lastMsn: number;
};

/** What is to be recorded about a session after it has begun; what is missing stays as it is. */
export type SessionProgress = {
  readonly sessionId: string;
  readonly anchorUtcMs?: number;
  readonly firstMsn?: number;
  readonly lastMsn?: number;
  readonly endedAtMs?: number;
  readonly endReason?: string;
  /** The session has given a sign of life; the database notes when. */
  readonly isAlive?: boolean;
};

/** A session that the database does not know to have ended. */
export type OpenSession = PublishableStream & {
  readonly sessionId: string;
  readonly fencingToken: number;
  readonly remoteAddress: string;
  readonly startedAtMs: number;
};

type StreamRow = {
  stream_id: string;
  tenant_id: string;
  key_id: string;
  digest: Buffer;
  segment_duration_ms: number;
  part_duration_ms: number;
  reconnect_window_s: number;
  dvr_window_s: number;
  retention_s: number;
  ladder: LadderSettings;
  last_msn: number;
};

/**
 * The valid keys with one of these ids. They cannot be replaced, nor their streams deleted, before the transaction ends.
 */
export async function lockKeys(
  sql: Sql,
  keyIds: readonly string[],
  nowMs: number,
): Promise<(PublishableStream & { readonly digest: Buffer })[]> {
  const rows = await sql<StreamRow>`
    select s.id as stream_id, s.tenant_id, k.id as key_id, k.digest, s.segment_duration_ms, s.part_duration_ms,
      s.reconnect_window_s, s.dvr_window_s, s.retention_s, s.ladder,
      coalesce((select max(p.last_msn) from origin.publish_sessions p where p.stream_id = s.id), 0) as last_msn
    from origin.stream_keys k join origin.streams s on s.id = k.stream_id
    where k.id in (select jsonb_array_elements_text(${keyIds}::jsonb))
      and (k.not_after is null or k.not_after > ${new Date(nowMs)})
    for share of k, s`;
  return rows.map((row) => ({ ...toStream(row), digest: row.digest }));
}

/** @returns the session's fencing token, larger than every one before */
export async function insertSession(
  sql: Sql,
  session: {
    readonly sessionId: string;
    readonly stream: PublishableStream;
    readonly remoteAddress: string;
    readonly startedAtMs: number;
    /** The origin that looks after it, where there are several. */
    readonly home: string | undefined;
  },
): Promise<number> {
  const [row] = await sql<{ fencing_token: number }>`
    insert into origin.publish_sessions
      (id, stream_id, tenant_id, key_id, remote_address, started_at, home, alive_at)
    values (${session.sessionId}, ${session.stream.streamId}, ${session.stream.tenantId},
      ${session.stream.keyId}, ${session.remoteAddress}, ${new Date(session.startedAtMs)},
      ${session.home ?? null}, clock_timestamp())
    returning fencing_token`;
  if (row === undefined) throw new TypeError('insert … returning gave no row');
  return row.fencing_token;
}

/** Records the progress of many sessions at once. What was recorded before is never taken back. */
export async function recordProgress(sql: Sql, progress: readonly SessionProgress[]): Promise<void> {
  const rows = progress.map((session) => ({
    id: session.sessionId,
    anchor_at: toIso(session.anchorUtcMs),
    first_msn: session.firstMsn ?? null,
    last_msn: session.lastMsn ?? null,
    ended_at: toIso(session.endedAtMs),
    end_reason: session.endReason ?? null,
    alive: session.isAlive ?? false,
  }));
  await sql`
    update origin.publish_sessions p set
      anchor_at = coalesce(p.anchor_at, j.anchor_at),
      first_msn = coalesce(p.first_msn, j.first_msn),
      last_msn = greatest(p.last_msn, j.last_msn),
      ended_at = coalesce(p.ended_at, j.ended_at),
      end_reason = coalesce(p.end_reason, j.end_reason),
      alive_at = case when j.alive then clock_timestamp() else p.alive_at end
    from jsonb_to_recordset(${rows}::jsonb) as j (id uuid, anchor_at timestamptz, first_msn bigint,
      last_msn bigint, ended_at timestamptz, end_reason text, alive boolean)
    where p.id = j.id`;
}

/** Which of these sessions were opened with a key that is not valid any more, or whose stream is gone. */
export async function findRevoked(
  sql: Sql,
  sessions: readonly { readonly sessionId: string; readonly keyId: string; readonly streamId: string }[],
  nowMs: number,
): Promise<string[]> {
  const rows = await sql<{ sessionId: string }>`
    select j."sessionId" from jsonb_to_recordset(${sessions}::jsonb)
      as j ("sessionId" text, "keyId" text, "streamId" text)
    where not exists (select 1 from origin.stream_keys k where k.id = j."keyId" and k.stream_id = j."streamId"
      and (k.not_after is null or k.not_after > ${new Date(nowMs)}))`;
  return rows.map(({ sessionId }) => sessionId);
}

type SessionRow = StreamRow & {
  id: string;
  fencing_token: number;
  remote_address: string;
  started_at: Date;
};

/**
 * Keeps other origins from opening a session on the stream before the transaction ends, and tells whether one of them
 * looks after a session that has given a sign of life lately.
 */
export async function isBusyElsewhere(
  sql: Sql,
  streamId: string,
  home: string,
  silenceMs: number,
): Promise<boolean> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`publish ${streamId}`}, 0))`;
  const rows = await sql`
    select 1 from origin.publish_sessions
    where stream_id = ${streamId} and ended_at is null and home <> ${home}
      and alive_at > clock_timestamp() - ${silenceMs} * interval '1 millisecond'`;
  return rows.length > 0;
}

/** Ends what is open of a stream beside its newest session. */
export async function endOlderSessions(
  sql: Sql,
  streamId: string,
  sessionId: string,
  nowMs: number,
): Promise<void> {
  await sql`
    update origin.publish_sessions set ended_at = ${new Date(nowMs)}, end_reason = 'lost'
    where stream_id = ${streamId} and id <> ${sessionId} and ended_at is null`;
}

/** Makes `home` look after a session that is open; undefined when there is none with this id. */
export async function moveSession(
  sql: Sql,
  sessionId: string,
  home: string,
): Promise<OpenSession | undefined> {
  const [row] = await sql<SessionRow>`
    update origin.publish_sessions p set home = ${home}, alive_at = clock_timestamp()
    from origin.streams s
    where p.id = ${sessionId} and p.ended_at is null and s.id = p.stream_id
    returning p.id, p.fencing_token, p.remote_address, p.started_at, p.stream_id, p.tenant_id, p.key_id,
      s.segment_duration_ms, s.part_duration_ms, s.reconnect_window_s, s.dvr_window_s, s.retention_s, s.ladder,
      coalesce((select max(q.last_msn) from origin.publish_sessions q where q.stream_id = s.id), 0) as last_msn`;
  return row === undefined ? undefined : toSession(row);
}

/** Which of these sessions `home` has not to look after any more: they have ended, or another origin does. */
export async function findMoved(sql: Sql, sessionIds: readonly string[], home: string): Promise<string[]> {
  const rows = await sql<{ id: string }>`
    select id from origin.publish_sessions
    where id::text in (select jsonb_array_elements_text(${sessionIds}::jsonb))
      and (ended_at is not null or home is distinct from ${home})`;
  return rows.map(({ id }) => id);
}

/** Which of these sessions are over: recorded as ended, or without a sign of life for so long. */
export async function findOver(
  sql: Sql,
  sessionIds: readonly string[],
  silenceMs: number,
): Promise<{ sessionId: string; reason: string }[]> {
  const rows = await sql<{ id: string; end_reason: string | null }>`
    select id, end_reason from origin.publish_sessions
    where id::text in (select jsonb_array_elements_text(${sessionIds}::jsonb))
      and (ended_at is not null or alive_at < clock_timestamp() - ${silenceMs} * interval '1 millisecond')`;
  return rows.map((row) => ({ sessionId: row.id, reason: row.end_reason ?? 'lost' }));
}

/**
 * The newest open session of every stream, as an origin that was just started finds them.
 *
 * @param home only those that this origin looked after, or nobody in particular
 */
export async function findOpenSessions(
  sql: Sql,
  sinceMs: number,
  home: string | undefined,
): Promise<OpenSession[]> {
  const rows = await sql<SessionRow>`
    select distinct on (p.stream_id) p.id, p.fencing_token, p.remote_address, p.started_at, p.stream_id,
      p.tenant_id, p.key_id, s.segment_duration_ms, s.part_duration_ms, s.reconnect_window_s, s.dvr_window_s, s.retention_s, s.ladder,
      coalesce((select max(q.last_msn) from origin.publish_sessions q where q.stream_id = s.id), 0) as last_msn
    from origin.publish_sessions p join origin.streams s on s.id = p.stream_id
    where p.ended_at is null and p.started_at > ${new Date(sinceMs)}
      and (${home ?? null}::text is null or p.home is null or p.home = ${home ?? null})
    order by p.stream_id, p.fencing_token desc`;
  return rows.map(toSession);
}

/**
 * Ends in the database what no process knows any more.
 *
 * @param home where there are several origins: only what this one has looked after, and what was silent for a day
 */
export async function endForgottenSessions(
  sql: Sql,
  known: readonly string[],
  nowMs: number,
  home: string | undefined,
): Promise<void> {
  await sql`
    update origin.publish_sessions set ended_at = ${new Date(nowMs)}, end_reason = 'lost'
    where ended_at is null and id::text not in (select jsonb_array_elements_text(${known}::jsonb))
      and (${home ?? null}::text is null or home is null or home = ${home ?? null}
        or alive_at < clock_timestamp() - interval '1 day')`;
}

function toSession(row: SessionRow): OpenSession {
  return {
    ...toStream(row),
    sessionId: row.id,
    fencingToken: row.fencing_token,
    remoteAddress: row.remote_address,
    startedAtMs: row.started_at.getTime(),
  };
}

function toStream(row: StreamRow): PublishableStream {
  return {
    streamId: row.stream_id,
    tenantId: row.tenant_id,
    keyId: row.key_id,
    segmentDurationMs: row.segment_duration_ms,
    partDurationMs: row.part_duration_ms,
    reconnectWindowS: row.reconnect_window_s,
    dvrWindowS: row.dvr_window_s,
    retentionS: row.retention_s,
    ladder: row.ladder,
    lastMsn: row.last_msn,
  };
}

function toIso(timeMs: number | undefined): string | null {
  return timeMs === undefined ? null : new Date(timeMs).toISOString();
}
