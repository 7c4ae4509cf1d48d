import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findClusterProcesses } from '#runtime/postgres/cluster-processes.ts';
import { violatedConstraint } from '#runtime/postgres/database-errors.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';

describe.skipIf(hasNoPostgres)('Database', () => {
  let postgres: TestPostgres;
  const uncaught: unknown[] = [];
  const onUncaught = (error: unknown): void => void uncaught.push(error);

  beforeAll(async () => {
    postgres = await startTestPostgres();
    process.on('uncaughtException', onUncaught);
    process.on('unhandledRejection', onUncaught);
    await postgres.open().run(({ script }) => script('create table numbers (n integer unique)'));
  });
  afterAll(async () => {
    process.off('uncaughtException', onUncaught);
    process.off('unhandledRejection', onUncaught);
    await postgres.close();
  });
  afterEach(() => {
    const [first] = uncaught.splice(0);
    if (first !== undefined) throw new Error('an error escaped its operation', { cause: first });
  });

  const clusterDir = (): string => {
    if (!('path' in postgres.server.target)) throw new Error('not an embedded server');
    return postgres.server.target.path.replace(/\/[^/]+$/, '');
  };

  it('gives values back as the types they are', async () => {
    const [row] = await postgres.open().run(
      ({ sql }) => sql`select 9007199254740991::int8 as big, ${'2026-01-02T03:04:05.678Z'}::timestamptz as at,
        ${{ a: ['"', null] }}::jsonb as json, ${Buffer.from([0, 255])}::bytea as bytes, ${null}::text as nothing`,
    );
    expect(row).toEqual({
      big: Number.MAX_SAFE_INTEGER,
      at: new Date('2026-01-02T03:04:05.678Z'),
      json: { a: ['"', null] },
      bytes: Buffer.from([0, 255]),
      nothing: null,
    });
  });

  it('never takes a value for a part of the statement', async () => {
    const value = `'); drop table numbers; --`;
    const [row] = await postgres.open().run(({ sql }) => sql`select ${value}::text as back`);
    expect(row).toEqual({ back: value });
  });

  it('commits what a transaction did, and nothing of one that threw', async () => {
    const database = postgres.open();
    await database.transaction(({ sql }) => sql`insert into numbers values (1)`);
    const failure = database.transaction(async ({ sql }) => {
      await sql`insert into numbers values (2)`;
      throw new RangeError('on second thought');
    });
    await expect(failure).rejects.toThrow(RangeError);
    expect(await database.run(({ sql }) => sql`select n from numbers`)).toEqual([{ n: 1 }]);
  });

  it('tells a violated constraint from a server that is away, and goes on', async () => {
    const database = postgres.open({ connectionsMax: 1 });
    const twice = database.transaction(async ({ sql }) => {
      await sql`insert into numbers values (7)`;
      await sql`insert into numbers values (7)`;
    });
    const error: unknown = await twice.catch((reason: unknown) => reason);
    expect(violatedConstraint(error)).toBe('numbers_n_key');
    expect(database.isUp).toBe(true);
    expect(await database.run(({ sql }) => sql`select 1 as one`)).toEqual([{ one: 1 }]);
  });

  it.each(['run', 'transaction'] as const)(
    'survives that the server ends the connection within a %s',
    async (method) => {
      const database = postgres.open();
      const other = postgres.open();
      const lost = database[method](async ({ sql }) => {
        const [self] = await sql<{ pid: number }>`select pg_backend_pid() as pid`;
        await other.run((operation) => operation.sql`select pg_terminate_backend(${self?.pid ?? 0})`);
        await sql`insert into numbers values (1000)`.catch(() => undefined);
        await sql`insert into numbers values (1001)`;
      });
      await expect(lost).rejects.toMatchObject({ code: 'database_unavailable' });
      await waitFor('the database to be up', () => database.isUp);
      expect(await database.run(({ sql }) => sql`select n from numbers where n >= 1000`)).toEqual([]);
    },
  );

  it('does not go on outside the transaction whose connection was lost while it was idle', async () => {
    const database = postgres.open({ connectionsMax: 1 });
    const other = postgres.open();
    const lost = database.transaction(async ({ sql }) => {
      const [self] = await sql<{ pid: number }>`select pg_backend_pid() as pid`;
      await other.run((operation) => operation.sql`select pg_terminate_backend(${self?.pid ?? 0})`);
      await waitFor('the end of the backend', async () => {
        const rows = await other.run(
          (operation) => operation.sql`select 1 from pg_stat_activity where pid = ${self?.pid ?? 0}`,
        );
        return rows.length === 0;
      });
      await sql`insert into numbers values (2000)`;
    });
    await expect(lost).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(await other.run(({ sql }) => sql`select n from numbers where n = 2000`)).toEqual([]);
  });

  it('takes a server that does not answer for away after the deadline, then fails at once, then comes back', async () => {
    const database = postgres.open({ operationDeadlineMs: 700 });
    await database.run(({ sql }) => sql`select 1`);
    const pids = findClusterProcesses(clusterDir());
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      const hung = within(
        'the deadline',
        3_000,
        database.run(({ sql }) => sql`select 1`),
      );
      await expect(hung).rejects.toMatchObject({ code: 'database_unavailable', reason: 'deadline' });
      await expect(database.run(({ sql }) => sql`select 1`)).rejects.toMatchObject({ reason: 'away' });
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    await waitFor('the database to be up', () => database.isUp);
    expect(await database.run(({ sql }) => sql`select 1 as one`)).toEqual([{ one: 1 }]);
  });

  it('notices a server that is away though nobody uses it', async () => {
    const database = postgres.open({ checkIntervalMs: 50 });
    await database.run(({ sql }) => sql`select 1`);
    const pids = findClusterProcesses(clusterDir());
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await waitFor('the database to be down', () => !database.isUp, { deadlineMs: 5_000 });
      expect(await database.metrics.getSingleMetricAsString('database_up')).toContain('} 0');
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    await waitFor('the database to be up', () => database.isUp);
  });

  it('comes back by itself after kill -9 of the server', async () => {
    const database = postgres.open();
    const pid = postgres.server.pid ?? 0;
    process.kill(pid, 'SIGKILL');
    await waitFor('the server to be another', () => postgres.server.pid !== pid);
    const rows = await waitFor('an answer', () =>
      database.run(({ sql }) => sql`select n from numbers where n = 1`).catch(() => undefined),
    );
    expect(rows).toEqual([{ n: 1 }]);
  });

  it('never opens more connections than it may, and serves who waits', async () => {
    const database = postgres.open({ connectionsMax: 2 });
    let active = 0;
    let most = 0;
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        database.run(async ({ sql }) => {
          most = Math.max(most, ++active);
          const [row] = await sql<{ n: number }>`select ${index}::int as n, pg_sleep(0.01)`;
          active--;
          return row?.n;
        }),
      ),
    );
    expect(results).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(most).toBe(2);
  });

  it('refuses one more than may wait', async () => {
    const database = postgres.open({ connectionsMax: 1, waitingMax: 2 });
    const slow = Array.from({ length: 3 }, () => database.run(({ sql }) => sql`select pg_sleep(0.05)`));
    await expect(database.run(({ sql }) => sql`select 1`)).rejects.toMatchObject({ reason: 'busy' });
    await Promise.all(slow);
    expect(await database.metrics.getSingleMetricAsString('database_operations_total')).toContain(
      'outcome="busy"',
    );
  });

  it('gives up a wait for a connection at the deadline, and the place in the queue with it', async () => {
    const database = postgres.open({ connectionsMax: 1, waitingMax: 1 });
    const slow = database.run(({ sql }) => sql`select pg_sleep(0.4)`);
    const impatient = database.run(({ sql }) => sql`select 1`, 50);
    await expect(impatient).rejects.toMatchObject({ reason: 'deadline' });
    const patient = database.run(({ sql }) => sql`select 1 as one`);
    await slow;
    expect(await patient).toEqual([{ one: 1 }]);
  });

  it('lets what is under way finish when it is closed, and takes nothing new', async () => {
    const database = postgres.open();
    const last = database.run(({ sql }) => sql`select 1 as one, pg_sleep(0.1)`);
    const closed = database.close();
    await expect(database.run(({ sql }) => sql`select 1`)).rejects.toMatchObject({ reason: 'closed' });
    expect((await last)[0]).toMatchObject({ one: 1 });
    await within('closing', 2_000, closed);
  });
});
