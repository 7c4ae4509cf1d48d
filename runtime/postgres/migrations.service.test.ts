import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '#runtime/log.ts';
import { migrate, type Migration } from '#runtime/postgres/migrations.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';

const logger = createLogger('test', 'silent');
const first: Migration = { id: 1, name: 'make', sql: 'create table animals (name text);' };
const second: Migration = {
  id: 2,
  name: 'fill',
  sql: `insert into animals values ('cat'); insert into animals values ('dog');`,
};
const inSchema = (schema: string, migration: Migration): Migration => ({
  ...migration,
  sql: migration.sql.replaceAll('animals', `${schema}.animals`),
});

describe.skipIf(hasNoPostgres)('migrate', () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startTestPostgres();
  });
  afterAll(() => postgres.close());

  const count = async (schema: string): Promise<unknown> => {
    const rows = await postgres
      .open()
      .run(({ script }) => script(`select count(*)::int as n from ${schema}.animals`));
    return (rows as { n: number }[])[0]?.n;
  };

  it('applies what is missing, in order, once', async () => {
    const steps = [first, second].map((step) => inSchema('once', step));
    const database = postgres.open();
    await migrate(database, 'once', steps.slice(0, 1), logger);
    await migrate(database, 'once', steps, logger);
    await migrate(database, 'once', steps, logger);
    expect(await count('once')).toBe(2);
  });

  it('applies them once when several processes start together', async () => {
    const steps = [first, second].map((step) => inSchema('together', step));
    await Promise.all(Array.from({ length: 4 }, () => migrate(postgres.open(), 'together', steps, logger)));
    expect(await count('together')).toBe(2);
  });

  it('applies nothing when one of them fails', async () => {
    const broken = { id: 2, name: 'break', sql: 'insert into no_such_table values (1)' };
    const steps = [inSchema('nothing', first), broken];
    await expect(migrate(postgres.open(), 'nothing', steps, logger)).rejects.toThrow('no_such_table');
    await expect(count('nothing')).rejects.toThrow('nothing.animals');
  });

  it('refuses a migration that was changed after it was applied', async () => {
    const step = inSchema('changed', first);
    await migrate(postgres.open(), 'changed', [step], logger);
    const edited = { ...step, sql: `${step.sql} -- a remark` };
    await expect(migrate(postgres.open(), 'changed', [edited], logger)).rejects.toMatchObject({
      code: 'migration_changed',
    });
  });

  it('refuses a database that a newer program has migrated', async () => {
    const steps = [first, second].map((step) => inSchema('newer', step));
    await migrate(postgres.open(), 'newer', steps, logger);
    await expect(migrate(postgres.open(), 'newer', steps.slice(0, 1), logger)).rejects.toMatchObject({
      code: 'migration_unknown',
    });
  });
});
