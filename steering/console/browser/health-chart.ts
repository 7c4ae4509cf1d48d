import type { HealthSample } from './api-types.ts';
import { bands, stepPath, type ChartFrame } from './chart-geometry.ts';
import { el, setText, svg } from './elements.ts';
import { percent, words } from './format.ts';

/** How far back the charts go. */
const SHOWN_MS = 15 * 60_000;
const FACTOR = { width: 600, height: 72 };
const COMPONENT = { width: 600, height: 24 };

/** Health of one CDN over the last 15 minutes: the factor above a band of states, and one small chart per component. */
export class HealthChart {
  readonly element = el('div', { class: 'health-chart' });
  readonly #factor = chart('factor', FACTOR.width, FACTOR.height + 8);
  readonly #components = el('dl', { class: 'components' });
  readonly #rows = new Map<
    string,
    { value: HTMLElement; path: SVGPathElement; drawing: SVGSVGElement; row: HTMLElement }
  >();
  readonly #title: string;

  constructor(cdn: string) {
    this.#title = cdn;
    const axis = el(
      'p',
      { class: 'axis', 'aria-hidden': 'true' },
      el('span', {}, '15 min ago'),
      el('span', {}, 'now'),
    );
    this.element.append(this.#factor, axis, this.#components);
  }

  update(history: readonly HealthSample[], nowMs: number): void {
    const time = { fromMs: nowMs - SHOWN_MS, toMs: nowMs };
    this.#drawFactor(history, { ...time, ...FACTOR });
    const newest = history.at(-1);
    // A probe that fails early measures little; what it did not measure keeps its line, with a gap.
    const names = [...new Set(history.flatMap(({ components }) => Object.keys(components)))].sort();
    for (const [name, { row }] of this.#rows) {
      if (names.includes(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    for (const name of names)
      this.#drawComponent(name, newest?.components[name], history, { ...time, ...COMPONENT });
  }

  #drawFactor(history: readonly HealthSample[], frame: ChartFrame): void {
    const newest = history.at(-1);
    const line = stepPath(
      history.map(({ atMs, factor }) => ({ atMs, value: factor })),
      frame,
    );
    const states = history.map(({ atMs, state }) => ({ atMs, word: state }));
    this.#factor.replaceChildren(
      svg('line', { class: 'grid', x1: 0, x2: frame.width, y1: frame.height, y2: frame.height }),
      svg('line', { class: 'grid', x1: 0, x2: frame.width, y1: frame.height / 2, y2: frame.height / 2 }),
      ...bands(states, frame).map(({ word, x, width }) =>
        svg('rect', { class: `band ${word}`, x, width, y: frame.height + 2, height: 6 }),
      ),
      svg('path', { class: 'line', d: line }),
    );
    const worst = history.reduce((lowest, { factor }) => Math.min(lowest, factor), 1);
    this.#factor.setAttribute(
      'aria-label',
      newest === undefined
        ? `${this.#title}: no health measured yet`
        : `${this.#title}: health ${percent(newest.factor)}, ${newest.state}; lowest of the last 15 minutes ${percent(worst)}`,
    );
  }

  #drawComponent(
    name: string,
    value: number | undefined,
    history: readonly HealthSample[],
    frame: ChartFrame,
  ): void {
    const row = this.#rows.get(name) ?? this.#newRow(name);
    const points = history.flatMap(({ atMs, components }) => {
      const value = components[name];
      return value === undefined ? [] : [{ atMs, value }];
    });
    const now = value === undefined ? '–' : percent(value);
    row.path.setAttribute('d', stepPath(points, frame));
    row.drawing.setAttribute('aria-label', `${words(name)} over the last 15 minutes, now ${now}`);
    setText(row.value, now);
    row.row.classList.toggle('poor', value !== undefined && value < 0.5);
  }

  #newRow(name: string): {
    value: HTMLElement;
    path: SVGPathElement;
    drawing: SVGSVGElement;
    row: HTMLElement;
  } {
    const path = svg('path', { class: 'line' });
    const drawing = chart('component', COMPONENT.width, COMPONENT.height);
    drawing.append(path);
    const value = el('span', { class: 'value' });
    const row = el('div', {}, el('dt', {}, words(name)), el('dd', {}, drawing, value));
    const created = { value, path, drawing, row };
    this.#rows.set(name, created);
    this.#components.append(row);
    return created;
  }
}

function chart(kind: string, width: number, height: number): SVGSVGElement {
  return svg('svg', {
    class: `chart ${kind}`,
    role: 'img',
    viewBox: `0 -2 ${width} ${height + 4}`,
    preserveAspectRatio: 'none',
  });
}
