import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SETTINGS_GROUPS } from '#all-in-one/settings.ts';
import { settingsTable } from '#all-in-one/settings-table.ts';

const FILE = join(import.meta.dirname, '../README.md');
const MARKED = /(<!-- settings -->)([\s\S]*)(<!-- \/settings -->)/;

/** Formatters pad the cells of a table; that makes no other table of it. */
const unpadded = (text: string): string => text.replace(/ {2,}/g, ' ').replace(/-{3,}/g, '---').trim();

function write(readme: string, table: string): string {
  const updated = readme.replace(MARKED, (_all, begin: string, _old, end: string) =>
    [begin, '', table, '', end].join('\n'),
  );
  writeFileSync(FILE, updated);
  return updated;
}

describe('README.md', () => {
  it('has the table of all settings (UPDATE_README=1 npm run unit writes it)', () => {
    const readme = readFileSync(FILE, 'utf8');
    const table = settingsTable(SETTINGS_GROUPS);
    const current = process.env['UPDATE_README'] === '1' ? write(readme, table) : readme;
    expect(unpadded(MARKED.exec(current)?.[2] ?? '')).toBe(unpadded(table));
  });

  it('starts and tests with the two lines that continuous integration uses', () => {
    const readme = readFileSync(FILE, 'utf8');
    const ci = readFileSync(join(import.meta.dirname, '../.ci/run'), 'utf8');
    expect(readme).toContain('\n./setup.sh && npm start\n');
    expect(readme).toContain('\n./setup.sh test && npm test\n');
    expect(ci).toContain("'./setup.sh test && npm test'");
  });
});
