import { describe, expect, it } from 'vitest';
import { settingsTable } from '#all-in-one/settings-table.ts';
import { flag, port, text } from '#runtime/config/settings.ts';

describe('settingsTable', () => {
  it('has one row for each name, with its default, in the first group that has it', () => {
    const shared = { parse: text(0, 9), default: '', description: 'a | b' };
    const table = settingsTable([
      {
        title: 'One',
        schema: { A_PORT: { parse: port, default: 80, description: 'Port.' }, SHARED: shared },
      },
      { title: 'Two', schema: { SHARED: shared, ON: { parse: flag, description: 'Needed.' } } },
      { title: 'Three', schema: { SHARED: shared } },
    ]);
    expect(table.split('\n').filter((line) => line.startsWith('| `'))).toEqual([
      '| `A_PORT` | `80` | Port |',
      '| `SHARED` | none | a \\| b |',
      '| `ON` | required | Needed |',
    ]);
    expect(table).not.toContain('Three');
  });
});
