import type { Snapshot, StreamDemand } from './api-types.ts';
import { el } from './elements.ts';
import { count, percent } from './format.ts';

/** The streams that are watched, with the CDNs that carry them and how each fares on them. */
export class StreamsTable {
  readonly element: HTMLElement;
  readonly #body = el('tbody');
  #drawn = '';

  constructor() {
    this.element = el(
      'section',
      { class: 'panel', id: 'streams' },
      el('h2', {}, 'Streams'),
      el(
        'div',
        { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Streams' },
        el(
          'table',
          {},
          el(
            'thead',
            {},
            el(
              'tr',
              {},
              ...['Stream', 'Viewers', 'Pathways'].map((text) => el('th', { scope: 'col' }, text)),
            ),
          ),
          this.#body,
        ),
      ),
    );
  }

  update(demand: readonly StreamDemand[], snapshot: Snapshot): void {
    const drawn = JSON.stringify([demand, snapshot]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const rows = groupStreams(demand, snapshot).map(({ streamId, viewers, pathways }) =>
      el(
        'tr',
        { 'data-stream': streamId },
        el('th', { scope: 'row' }, streamId),
        el('td', {}, count(viewers)),
        el('td', {}, el('ul', { class: 'pathways' }, ...pathways.map(pathwayItem))),
      ),
    );
    const none = el('tr', {}, el('td', { colspan: 3 }, 'Nobody has asked for a stream yet.'));
    this.#body.replaceChildren(...(rows.length === 0 ? [none] : rows));
  }
}

/** A stream and its pathways, those with most viewers first. */
export type StreamRow = {
  readonly streamId: string;
  readonly viewers: number;
  readonly pathways: readonly { readonly cdn: string; readonly viewers: number; readonly health: number }[];
};

/** Puts together what is known of each stream: viewers per CDN, and the health there where it differs from the CDN's. */
export function groupStreams(demand: readonly StreamDemand[], snapshot: Snapshot): readonly StreamRow[] {
  const byStream = new Map<string, Map<string, number>>();
  for (const { streamId, cdn, viewers } of demand) {
    const cdns = byStream.get(streamId) ?? new Map<string, number>();
    byStream.set(streamId, cdns.set(cdn, (cdns.get(cdn) ?? 0) + viewers));
  }
  return [...byStream]
    .map(([streamId, cdns]) => ({
      streamId,
      viewers: [...cdns.values()].reduce((sum, viewers) => sum + viewers, 0),
      pathways: snapshot.cdns
        .filter(({ enabled }) => enabled)
        .map(({ name, health }) => ({
          cdn: name,
          viewers: cdns.get(name) ?? 0,
          health: snapshot.streams[streamId]?.[name] ?? health,
        }))
        .sort((a, b) => b.viewers - a.viewers || (a.cdn < b.cdn ? -1 : 1)),
    }))
    .sort((a, b) => b.viewers - a.viewers);
}

function pathwayItem({ cdn, viewers, health }: StreamRow['pathways'][number]): HTMLElement {
  const state = health === 0 ? 'ejected' : health < 1 ? 'suspect' : 'healthy';
  const fares = health < 1 ? `, health ${percent(health)}` : '';
  return el('li', { class: `badge ${state}` }, `${cdn} ${count(viewers)}${fares}`);
}
