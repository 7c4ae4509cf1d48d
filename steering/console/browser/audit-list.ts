import type { AuditEntry, AuditPage } from './api-types.ts';
import { el } from './elements.ts';
import { dateTime } from './format.ts';

/** Most entries that are shown; older ones are for the API. */
const SHOWN_MAX = 500;

/** Who changed what, when and why; newest first. */
export class AuditList {
  readonly element: HTMLElement;
  readonly #list = el('ol', { class: 'audit' });
  readonly #more: HTMLButtonElement;
  readonly #load: (cursor: string | undefined) => Promise<AuditPage>;
  readonly #report: (error: unknown) => void;
  readonly #shown = new Set<number>();
  #cursor: string | null | undefined;

  constructor(load: (cursor: string | undefined) => Promise<AuditPage>, report: (error: unknown) => void) {
    this.#load = load;
    this.#report = report;
    this.#more = el(
      'button',
      { type: 'button', class: 'quiet', click: () => void this.#older() },
      'Older entries',
    );
    this.#more.hidden = true;
    this.element = el(
      'section',
      { class: 'panel', id: 'audit' },
      el('h2', {}, 'Audit'),
      this.#list,
      this.#more,
    );
  }

  /** Puts new entries on top. */
  async refresh(): Promise<void> {
    try {
      const page = await this.#load(undefined);
      const fresh = page.entries.filter(({ seq }) => !this.#shown.has(seq));
      this.#list.prepend(...fresh.map((entry) => this.#item(entry)));
      // The first page decides where the older ones begin, once.
      if (this.#cursor === undefined) this.#setCursor(page.nextCursor);
    } catch (error) {
      this.#report(error);
    }
  }

  async #older(): Promise<void> {
    if (this.#cursor === undefined || this.#cursor === null) return;
    this.#more.disabled = true;
    try {
      const page = await this.#load(this.#cursor);
      const fresh = page.entries.filter(({ seq }) => !this.#shown.has(seq));
      this.#list.append(...fresh.map((entry) => this.#item(entry)));
      this.#setCursor(this.#shown.size >= SHOWN_MAX ? null : page.nextCursor);
    } catch (error) {
      this.#report(error);
    } finally {
      this.#more.disabled = false;
    }
  }

  #setCursor(cursor: string | null): void {
    this.#cursor = cursor;
    this.#more.hidden = cursor === null;
  }

  #item(entry: AuditEntry): HTMLElement {
    this.#shown.add(entry.seq);
    const { at, actor, role, action, cdn, reason } = entry;
    return el(
      'li',
      { 'data-seq': entry.seq },
      el('time', { datetime: at }, dateTime(at)),
      el('strong', {}, `${action}${cdn === null ? '' : ` ${cdn}`}`),
      el('span', { class: 'diff' }, describeDifference(entry.before, entry.after)),
      el('q', {}, reason),
      el('span', { class: 'actor' }, `${actor} (${role})`),
    );
  }
}

/** The fields that differ, as `weight 100 → 50`. */
export function describeDifference(before: unknown, after: unknown): string {
  if (!isRecord(before) || !isRecord(after)) return '';
  const fields = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return fields
    .filter((field) => JSON.stringify(before[field]) !== JSON.stringify(after[field]))
    .map((field) => `${field} ${show(before[field])} → ${show(after[field])}`)
    .join(', ');
}

function show(value: unknown): string {
  return value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
