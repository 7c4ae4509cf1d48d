import { LadderRung } from '#protocol/ingest/publish-session.ts';
import type { SettingsSchema } from '#runtime/config/settings.ts';

/** One group of settings for the README, under the name of the service that reads them. */
export type SettingsGroup = { readonly title: string; readonly schema: SettingsSchema };

/**
 * The README's table of settings: one row for each name, in the order of the schemas; a name that several services share
 * stands in the first of them.
 */
export function settingsTable(groups: readonly SettingsGroup[]): string {
  const seen = new Set<string>();
  const sections = groups.map(({ title, schema }) => {
    const rows = Object.entries(schema)
      .filter(([name]) => !seen.has(name))
      .map(([name, setting]) => {
        seen.add(name);
        return `| \`${name}\` | ${defaultText(setting.default)} | ${cell(setting.description)} |`;
      });
    if (rows.length === 0) return undefined;
    return [`### ${title}`, '', '| name | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
  });
  return sections.filter((section) => section !== undefined).join('\n\n');
}

function defaultText(value: unknown): string {
  if (value === undefined) return 'required';
  const text = Array.isArray(value) ? value.map(itemText).join(',') : itemText(value);
  return text === '' ? 'none' : `\`${cell(text)}\``;
}

/** An item of a list as the environment would spell it. */
function itemText(item: unknown): string {
  const rung = LadderRung.safeParse(item);
  if (rung.success) return `${rung.data.height}:${rung.data.bitrateBps / 1_000}k`;
  return typeof item === 'string' ? item : JSON.stringify(item);
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ').replace(/\.$/, '');
}
