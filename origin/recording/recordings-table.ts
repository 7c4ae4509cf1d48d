import type { Sql } from '#runtime/postgres/connection.ts';
import type { RecordingWish } from '#origin/live/stream-recorder.ts';
import { recordingState, type RecordingState } from '#origin/recording/recording-state.ts';
import type { RecordingRef } from '#origin/recording/recording-place.ts';
import { fromRow, type SegmentEntry, type SegmentRow } from '#origin/recording/segment-entry.ts';

/** A recording as the database knows it. */
export type RecordingRow = {
  readonly ref: RecordingRef;
  readonly beganAtMs: number;
  /** Null while it goes on, as far as is known. */
  readonly endedAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly wish: RecordingWish;
  readonly state: RecordingState;
};

/** A row of the index. */
export type IndexPage = {
  readonly ref: RecordingRef;
  readonly renditionId: string;
  readonly page: number;
  readonly untilMs: number;
  readonly rows: readonly SegmentRow[];
};

type Row = {
  stream_id: string;
  id: number;
  began_at: Date;
  ended_at: Date | null;
  expires_at: Date | null;
  dvr_window_ms: number;
  retention_ms: number;
  state: unknown;
};

/** Writes it again when it is there; what has ended stays ended. */
export async function putRecording(
  sql: Sql,
  recording: Omit<RecordingRow, 'expiresAtMs' | 'endedAtMs'>,
): Promise<void> {
  const { ref, wish, state } = recording;
  await sql`
    insert into origin.recordings (stream_id, id, began_at, dvr_window_ms, retention_ms, state)
    values (${ref.streamId}, ${ref.id}, ${new Date(recording.beganAtMs)}, ${wish.dvrWindowMs}, ${wish.retentionMs},
      ${state}::jsonb)
    on conflict (stream_id, id) do update set state = excluded.state`;
}

export async function putPages(sql: Sql, pages: readonly IndexPage[]): Promise<void> {
  const rows = pages.map(({ ref, renditionId, page, untilMs, rows: entries }) => ({
    stream_id: ref.streamId,
    recording_id: ref.id,
    rendition_id: renditionId,
    page,
    until_at: new Date(untilMs).toISOString(),
    entries,
  }));
  await sql`
    insert into origin.recording_pages (stream_id, recording_id, rendition_id, page, until_at, entries)
    select j.stream_id, j.recording_id, j.rendition_id, j.page, j.until_at, j.entries
    from jsonb_to_recordset(${rows}::jsonb) as j (stream_id text, recording_id bigint, rendition_id text, page bigint,
      until_at timestamptz, entries jsonb)
    join origin.recordings r on r.stream_id = j.stream_id and r.id = j.recording_id
    on conflict (stream_id, recording_id, rendition_id, page) do update
      set until_at = excluded.until_at, entries = excluded.entries`;
}

/** It is complete. @param expiresAtMs from when on it is to be deleted */
export async function endRecording(
  sql: Sql,
  ref: RecordingRef,
  endedAtMs: number,
  expiresAtMs: number,
): Promise<void> {
  await sql`
    update origin.recordings set ended_at = coalesce(ended_at, ${new Date(endedAtMs)}),
      expires_at = least(expires_at, ${new Date(expiresAtMs)})
    where stream_id = ${ref.streamId} and id = ${ref.id}`;
}

/** Those that went on when their process was stopped, newest first. */
export async function findOpenRecordings(sql: Sql): Promise<RecordingRow[]> {
  const rows = await sql<Row>`
    select r.* from origin.recordings r join origin.streams s on s.id = r.stream_id
    where r.ended_at is null order by r.id desc limit 10000`;
  return rows.map(toRecording);
}

/** A stream's recordings, newest first. */
export async function findRecordings(sql: Sql, streamId: string, limit: number): Promise<RecordingRow[]> {
  const rows = await sql<Row>`
    select * from origin.recordings where stream_id = ${streamId} order by id desc limit ${limit}`;
  return rows.map(toRecording);
}

/** Which of these streams there are. */
export async function findStreams(sql: Sql, streamIds: readonly string[]): Promise<Set<string>> {
  const rows = await sql<{ id: string }>`
    select id from origin.streams where id in (select jsonb_array_elements_text(${streamIds}::jsonb))`;
  return new Set(rows.map(({ id }) => id));
}

/** The index of one rendition in a row, oldest first. @param fromPage pages before it are left out */
export async function readEntries(
  sql: Sql,
  ref: RecordingRef,
  renditionId: string,
  fromPage: number,
  toPage: number = Number.MAX_SAFE_INTEGER,
): Promise<SegmentEntry[]> {
  const rows = await sql<{ entries: unknown[] }>`
    select entries from origin.recording_pages
    where stream_id = ${ref.streamId} and recording_id = ${ref.id} and rendition_id = ${renditionId}
      and page between ${fromPage} and ${toPage}
    order by page`;
  return rows.flatMap(({ entries }) => entries.map(fromRow));
}

/** Recordings whose time has come. */
export async function findExpired(sql: Sql, nowMs: number, limit: number): Promise<RecordingRef[]> {
  const rows = await sql<Row>`
    select stream_id, id from origin.recordings where expires_at <= ${new Date(nowMs)} order by expires_at limit ${limit}`;
  return rows.map(({ stream_id, id }) => ({ streamId: stream_id, id }));
}

/** Its objects are gone. */
export async function deleteRecording(sql: Sql, ref: RecordingRef): Promise<void> {
  await sql`delete from origin.recordings where stream_id = ${ref.streamId} and id = ${ref.id}`;
}

/** Pages of recordings that go on, all of whose segments are older than what is to be kept. */
export async function findOutdatedPages(
  sql: Sql,
  nowMs: number,
  recordingMsMax: number,
  limit: number,
): Promise<{ ref: RecordingRef; renditionId: string; page: number; msns: number[] }[]> {
  const rows = await sql<{
    stream_id: string;
    recording_id: number;
    rendition_id: string;
    page: number;
    entries: unknown[];
  }>`
    select p.stream_id, p.recording_id, p.rendition_id, p.page, p.entries
    from origin.recording_pages p join origin.recordings r on r.stream_id = p.stream_id and r.id = p.recording_id
    where r.ended_at is null
      and p.until_at < ${new Date(nowMs)}::timestamptz
        - least(greatest(r.dvr_window_ms, r.retention_ms, 600000), ${recordingMsMax}) * interval '1 millisecond'
    limit ${limit}`;
  return rows.map((row) => ({
    ref: { streamId: row.stream_id, id: row.recording_id },
    renditionId: row.rendition_id,
    page: row.page,
    msns: row.entries.map(fromRow).flatMap(({ msn, bytes }) => (bytes > 0 ? msn : [])),
  }));
}

export async function deletePage(
  sql: Sql,
  ref: RecordingRef,
  renditionId: string,
  page: number,
): Promise<void> {
  await sql`
    delete from origin.recording_pages where stream_id = ${ref.streamId} and recording_id = ${ref.id}
      and rendition_id = ${renditionId} and page = ${page}`;
}

function toRecording(row: Row): RecordingRow {
  return {
    ref: { streamId: row.stream_id, id: row.id },
    beganAtMs: row.began_at.getTime(),
    endedAtMs: row.ended_at?.getTime() ?? null,
    expiresAtMs: row.expires_at?.getTime() ?? null,
    wish: { dvrWindowMs: row.dvr_window_ms, retentionMs: row.retention_ms },
    state: recordingState.parse(row.state),
  };
}

/** Recordings of streams that were deleted meanwhile are to be deleted too. */
export async function expireOrphans(sql: Sql): Promise<void> {
  await sql`
    update origin.recordings r set ended_at = coalesce(ended_at, now()), expires_at = 'epoch'
    where r.expires_at is distinct from 'epoch'
      and not exists (select 1 from origin.streams s where s.id = r.stream_id)`;
}

/** Whether it is known and complete. */
export async function isEnded(sql: Sql, ref: RecordingRef): Promise<boolean> {
  const rows = await sql`
    select 1 from origin.recordings where stream_id = ${ref.streamId} and id = ${ref.id} and ended_at is not null`;
  return rows.length > 0;
}

/** The newest page of a rendition; 0 when there is none. */
export async function newestPage(sql: Sql, ref: RecordingRef, renditionId: string): Promise<number> {
  const [row] = await sql<{ page: number | null }>`
    select max(page) as page from origin.recording_pages
    where stream_id = ${ref.streamId} and recording_id = ${ref.id} and rendition_id = ${renditionId}`;
  return row?.page ?? 0;
}

/**
 * Ends recordings that nobody adds to any more: those of an origin that never came back.
 *
 * @param sinceMs media newer than this show that somebody does
 */
export async function endAbandoned(sql: Sql, nowMs: number, sinceMs: number): Promise<void> {
  await sql`
    update origin.recordings r set ended_at = ${new Date(nowMs)},
      expires_at = ${new Date(nowMs)}::timestamptz + r.retention_ms * interval '1 millisecond'
    where r.ended_at is null and r.began_at < ${new Date(sinceMs)}
      and not exists (select 1 from origin.recording_pages p where p.stream_id = r.stream_id
        and p.recording_id = r.id and p.until_at > ${new Date(sinceMs)})`;
}
