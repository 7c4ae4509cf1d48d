import type { Sql } from '#runtime/postgres/connection.ts';
import { randomName } from '#origin/registry/stream-keys.ts';
import type { WebhookEvent } from '#origin/webhooks/webhook-event.ts';

/** Deliveries that may wait for one webhook; more are not begun. */
export const PENDING_DELIVERIES_MAX = 1_000;
/** How long events and their deliveries are remembered. */
export const EVENTS_KEPT_MS = 7 * 24 * 60 * 60 * 1000;

/** How many deliveries an event has begun, and how many it could not because too many waited. */
export type EventOutcome = { readonly begun: number; readonly dropped: number };

/**
 * Stores an event and begins its deliveries; one that has been stored before is left alone. Call it in a transaction.
 *
 * @param origin names the origin that has seen it
 */
export async function storeEvent(sql: Sql, event: WebhookEvent, origin: string): Promise<EventOutcome> {
  const id = `evt_${randomName()}${randomName()}`;
  const [stored] = await sql<{ id: string }>`
    insert into origin.webhook_events (id, tenant_id, type, stream_id, at, occurrence, origin, data)
    values (${id}, ${event.tenantId}, ${event.type}, ${event.streamId}, ${new Date(event.atMs)}, ${event.occurrence},
      ${origin}, ${event.data}::jsonb)
    on conflict (occurrence) do nothing
    returning id`;
  if (stored !== undefined) return beginDeliveries(sql, event, id);
  if (event.type !== 'stream.live') return { begun: 0, dropped: 0 };
  return storeMove(sql, event, origin);
}

/** A session that was live is live at another origin now. */
async function storeMove(sql: Sql, event: WebhookEvent, origin: string): Promise<EventOutcome> {
  const [moved] = await sql<{ moves: number }>`
    update origin.webhook_events set origin = ${origin}, moves = moves + 1
    where occurrence = ${event.occurrence} and origin <> ${origin}
    returning moves`;
  if (moved === undefined) return { begun: 0, dropped: 0 };
  const failover: WebhookEvent = {
    ...event,
    type: 'stream.failover',
    occurrence: `${event.occurrence} moved ${moved.moves}`,
    data: { ...event.data, part: 'origin' },
  };
  return storeEvent(sql, failover, origin);
}

async function beginDeliveries(sql: Sql, event: WebhookEvent, eventId: string): Promise<EventOutcome> {
  const rows = await sql<{ begun: boolean }>`
    with wanting as (
      select w.id, (select count(*) from origin.webhook_deliveries d where d.webhook_id = w.id and d.state = 'pending')
          < ${PENDING_DELIVERIES_MAX} as has_room
      from origin.webhooks w
      where w.tenant_id = ${event.tenantId} and w.enabled and w.events ? ${event.type}
    ), begun as (
      insert into origin.webhook_deliveries (webhook_id, event_id)
      select id, ${eventId} from wanting where has_room
    )
    select has_room as begun from wanting`;
  const begun = rows.filter((row) => row.begun).length;
  return { begun, dropped: rows.length - begun };
}

/** Recordings that are complete and of which nobody has been told who wants to know. */
export async function findReadyRecordings(sql: Sql, nowMs: number, sinceMs: number): Promise<WebhookEvent[]> {
  const rows = await sql<{
    stream_id: string;
    id: number;
    tenant_id: string;
    name: string;
    began_at: Date;
    ended_at: Date;
    expires_at: Date;
  }>`
    select r.stream_id, r.id, s.tenant_id, s.name, r.began_at, r.ended_at, r.expires_at
    from origin.recordings r join origin.streams s on s.id = r.stream_id
    where r.ended_at > ${new Date(sinceMs)} and r.retention_ms > 0 and r.expires_at > ${new Date(nowMs)}
      and exists (select 1 from origin.webhooks w where w.tenant_id = s.tenant_id and w.enabled
        and w.events ? 'recording.ready' and w.created_at < r.ended_at)
      and not exists (select 1 from origin.webhook_events e
        where e.occurrence = 'recording ' || r.stream_id || ' ' || r.id)
    order by r.ended_at limit 100`;
  return rows.map((row) => ({
    type: 'recording.ready',
    tenantId: row.tenant_id,
    streamId: row.stream_id,
    atMs: nowMs,
    occurrence: `recording ${row.stream_id} ${row.id}`,
    data: {
      streamId: row.stream_id,
      name: row.name,
      recordingId: String(row.id),
      startedAt: row.began_at.toISOString(),
      endedAt: row.ended_at.toISOString(),
      expiresAt: row.expires_at.toISOString(),
    },
  }));
}

/**
 * Streams that were said to be live, whose session has ended so long ago that they cannot be any more, and of whose end
 * nobody was told: the origin that would have seen it was not there.
 *
 * @param silenceMs longer than a reconnect window may be
 */
export async function findSilentEnds(sql: Sql, nowMs: number, silenceMs: number): Promise<WebhookEvent[]> {
  const rows = await sql<{ tenant_id: string; stream_id: string; data: Readonly<Record<string, string>> }>`
    select e.tenant_id, e.stream_id, e.data
    from (
      select distinct on (stream_id) stream_id, tenant_id, type, data from origin.webhook_events
      where type in ('stream.live', 'stream.reconnecting', 'stream.ended')
      order by stream_id, seq desc
    ) e
    join origin.publish_sessions p on p.id::text = e.data ->> 'sessionId'
    where e.type <> 'stream.ended' and p.ended_at < ${new Date(nowMs - silenceMs)}
      and not exists (select 1 from origin.publish_sessions q where q.stream_id = e.stream_id and q.ended_at is null)
    limit 100`;
  return rows.map(({ tenant_id: tenantId, stream_id: streamId, data }) => ({
    type: 'stream.ended',
    tenantId,
    streamId,
    atMs: nowMs,
    occurrence: `ended ${data['sessionId'] ?? ''}`,
    data,
  }));
}

/** With their deliveries. */
export async function forgetOldEvents(sql: Sql, nowMs: number): Promise<void> {
  await sql`delete from origin.webhook_events where at < ${new Date(nowMs - EVENTS_KEPT_MS)}`;
}
