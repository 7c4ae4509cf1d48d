import type { Sql } from '#runtime/postgres/connection.ts';
import { PUBLISH_ERROR_CODES } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { PublishableStream } from '#origin/registry/publish-sessions-table.ts';
import { lockTenant } from '#origin/registry/tenants-table.ts';

/**
 * Refuses a publisher when its tenant has as many others as it may. Two that come at once are judged one after the other.
 * A stream whose publisher comes back takes no place but its own.
 *
 * @param silenceMs where several origins share the database: a session silent for so long is over; otherwise undefined
 * @throws {ProblemError} 409 `tenant_live_exhausted`
 */
export async function refuseOverLiveLimit(
  sql: Sql,
  { tenantId, streamId }: Pick<PublishableStream, 'tenantId' | 'streamId'>,
  silenceMs: number | undefined,
): Promise<void> {
  const [limited] = await sql`
    select 1 from origin.tenants where id = ${tenantId} and live_max is not null`;
  if (limited === undefined) return;
  const liveMax = (await lockTenant(sql, tenantId))?.liveMax ?? null;
  if (liveMax === null) return;
  const [row] = await sql<{ n: number }>`
    select count(distinct stream_id)::int as n from origin.publish_sessions
    where tenant_id = ${tenantId} and ended_at is null and stream_id <> ${streamId}
      and (${silenceMs ?? null}::float8 is null
        or alive_at > clock_timestamp() - ${silenceMs ?? 0} * interval '1 millisecond')`;
  if ((row?.n ?? 0) >= liveMax)
    throw new ProblemError(
      409,
      PUBLISH_ERROR_CODES.tenantLiveExhausted,
      `This tenant may publish ${liveMax} streams at once, and does.`,
    );
}
