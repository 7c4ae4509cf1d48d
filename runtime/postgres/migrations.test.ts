import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readMigrations } from '#runtime/postgres/migrations.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livehls-migrations-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('readMigrations', () => {
  it('reads the files in the order of their numbers', () => {
    writeFileSync(join(folder, '0002-b.sql'), 'two');
    writeFileSync(join(folder, '0001-a-first.sql'), 'one');
    writeFileSync(join(folder, 'README.md'), 'not one of them');
    expect(readMigrations(folder)).toEqual([
      { id: 1, name: 'a-first', sql: 'one' },
      { id: 2, name: 'b', sql: 'two' },
    ]);
  });

  it.each([
    ['a gap', ['0001-a.sql', '0003-c.sql']],
    ['a number twice', ['0001-a.sql', '0001-b.sql']],
    ['a beginning after 1', ['0002-b.sql']],
    ['a name without a number', ['create.sql']],
    ['a name with a quote', [`0001-a'b.sql`]],
  ])('refuses %s', (_, files) => {
    for (const file of files) writeFileSync(join(folder, file), '');
    expect(() => readMigrations(folder)).toThrow(expect.objectContaining({ code: 'migrations_malformed' }));
  });
});
