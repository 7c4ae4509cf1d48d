import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import type { SessionProgress } from '#origin/registry/publish-sessions-table.ts';
import { JOURNAL_SESSIONS_MAX, SessionJournal } from '#origin/sessions/session-journal.ts';
import { waitFor } from '#tests/support/wait-for.ts';

function create() {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const batches: SessionProgress[][] = [];
  const database = { isAway: false };
  const journal = new SessionJournal({
    clock,
    metrics,
    logger: createLogger('test', 'silent'),
    write: async (progress) => {
      if (database.isAway) throw new Error('away');
      batches.push([...progress]);
    },
  });
  /** Lets time pass in steps, so that each timer's work is done before the next falls due. */
  const advance = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 250) {
      clock.advance(250);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { journal, clock, metrics, batches, database, advance };
}

describe('SessionJournal', () => {
  it('writes the merged news of many sessions together, once a second', async () => {
    const { journal, batches, advance } = create();
    journal.note({ sessionId: 'a', anchorUtcMs: 5, firstMsn: 10, lastMsn: 10 });
    journal.note({ sessionId: 'b', lastMsn: 3 });
    journal.note({ sessionId: 'a', lastMsn: 12 });
    expect(batches).toEqual([]);
    await advance(1_000);
    expect(batches).toEqual([
      [
        { sessionId: 'a', anchorUtcMs: 5, firstMsn: 10, lastMsn: 12 },
        { sessionId: 'b', lastMsn: 3 },
      ],
    ]);
    await advance(10_000);
    expect(batches).toHaveLength(1);
  });

  it('keeps the news while the database is away, newer ones over older ones', async () => {
    const { journal, batches, database, advance } = create();
    database.isAway = true;
    journal.note({ sessionId: 'a', firstMsn: 10, lastMsn: 10 });
    await advance(3_000);
    journal.note({ sessionId: 'a', lastMsn: 20 });
    database.isAway = false;
    await advance(6_000);
    expect(batches).toEqual([[{ sessionId: 'a', firstMsn: 10, lastMsn: 20 }]]);
  });

  it('drops the oldest when too many wait, and counts them', async () => {
    const { journal, metrics, batches, database } = create();
    database.isAway = true;
    for (let index = 0; index <= JOURNAL_SESSIONS_MAX; index++)
      journal.note({ sessionId: `s${index}`, lastMsn: index });
    await journal.flush();
    database.isAway = false;
    await journal.flush();
    expect(batches[0]).toHaveLength(JOURNAL_SESSIONS_MAX);
    expect(batches[0]?.[0]?.sessionId).toBe('s1');
    const dropped = await metrics.getSingleMetric('origin_session_journal_dropped_total')?.get();
    expect(dropped?.values[0]?.value).toBe(1);
  });

  it('writes what is left when it is closed, and no more afterwards', async () => {
    const { journal, clock, batches } = create();
    journal.note({ sessionId: 'a', lastMsn: 1 });
    await journal.close();
    expect(batches).toHaveLength(1);
    journal.note({ sessionId: 'a', lastMsn: 2 });
    expect(clock.pendingCount).toBe(0);
  });

  it('does not hang on closing when the database is away', async () => {
    const { journal, database, batches } = create();
    database.isAway = true;
    journal.note({ sessionId: 'a', lastMsn: 1 });
    await waitFor('the close', () => journal.close().then(() => true));
    expect(batches).toEqual([]);
  });
});
