import { element, setText } from './page-elements.ts';
import { PATHWAY_LOG_WINDOW_MS, reasonText, type PathwayLog } from './pathway-log.ts';

const SVG = 'http://www.w3.org/2000/svg';
/** Units of the drawing; it is stretched to the width that the page has. */
const WIDTH = 1_000;
const HEIGHT = 24;
/** The timeline is never shorter than this, so that the first seconds do not fill it. */
const SHOWN_MIN_MS = 60_000;
const STALL_WIDTH_MIN = 4;
const REDRAW_MS = 1_000;
/** Colours that the style sheet has. */
const COLOURS = 5;

/** Which CDN plays, and what has been: a drawing to look at, and the same as a list to read. */
export class PathwayPanel {
  readonly #box = element('pathways', HTMLElement);
  readonly #now = element('pathway-now', HTMLElement);
  readonly #why = element('pathway-why', HTMLElement);
  readonly #bar = element('pathway-bar', SVGSVGElement);
  readonly #from = element('pathway-from', HTMLElement);
  readonly #list = element('pathway-list', HTMLOListElement);
  readonly #log: PathwayLog;
  readonly #colours = new Map<string, number>();
  #drawnMs = Number.NEGATIVE_INFINITY;
  #listed = '';

  constructor(log: PathwayLog) {
    this.#log = log;
  }

  /** Call it as often as you like. */
  update(): void {
    const { spans, current } = this.#log;
    this.#box.hidden = spans.length === 0;
    if (spans.length === 0) return;
    const last = spans.at(-1);
    setText(this.#now, current ?? 'none');
    setText(this.#why, last === undefined ? '' : reasonText(last.reason, spans.at(-2)?.pathway));
    this.#box.dataset['colour'] = current === undefined ? '' : String(this.#colour(current));
    const happened = this.#showList();
    const nowMs = performance.now();
    if (!happened && nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = nowMs;
    this.#draw(nowMs);
  }

  #draw(nowMs: number): void {
    const { spans, stalls } = this.#log;
    const seenMs = nowMs - (spans[0]?.sinceMs ?? nowMs);
    const shownMs = Math.min(PATHWAY_LOG_WINDOW_MS, Math.max(SHOWN_MIN_MS, seenMs));
    const x = (atMs: number): number => Math.max(0, WIDTH * (1 - (nowMs - atMs) / shownMs));
    const shapes = spans.map(({ pathway, sinceMs, untilMs }) => {
      const end = x(untilMs ?? nowMs);
      return rect(`span c${this.#colour(pathway)}`, x(sinceMs), end - x(sinceMs));
    });
    for (const { sinceMs } of spans.slice(1)) shapes.push(rect('switch', x(sinceMs) - 1, 2));
    for (const { sinceMs, untilMs } of stalls) {
      const width = Math.max(STALL_WIDTH_MIN, x(untilMs ?? nowMs) - x(sinceMs));
      shapes.push(rect('stall', Math.min(x(sinceMs), WIDTH - width), width));
    }
    this.#bar.replaceChildren(...shapes);
    const minutes = Math.round(shownMs / 60_000);
    setText(this.#from, minutes === 1 ? '1 minute ago' : `${minutes} minutes ago`);
  }

  /** Newest first; made anew only when something has happened, so that a reader's place in it stays. Says whether it was. */
  #showList(): boolean {
    const { spans, stalls } = this.#log;
    const items = [
      ...spans.map(({ pathway, sinceMs, reason }, index) => ({
        atMs: sinceMs,
        colour: this.#colour(pathway),
        title: pathway,
        text: reasonText(reason, spans[index - 1]?.pathway),
      })),
      ...stalls.map(({ sinceMs, untilMs }) => ({
        atMs: sinceMs,
        colour: -1,
        title: 'Stall',
        text:
          untilMs === undefined
            ? 'the picture stands still'
            : `the picture stood still for ${((untilMs - sinceMs) / 1_000).toFixed(1)} s`,
      })),
    ].sort((a, b) => b.atMs - a.atMs);
    const key = items.map(({ atMs, title, text }) => `${atMs} ${title} ${text}`).join('\n');
    if (key === this.#listed) return false;
    this.#listed = key;
    this.#list.replaceChildren(
      ...items.map(({ atMs, colour, title, text }) => {
        const item = document.createElement('li');
        item.className = colour < 0 ? 'stall' : `c${colour}`;
        const time = document.createElement('time');
        const date = new Date(performance.timeOrigin + atMs);
        time.dateTime = date.toISOString();
        time.textContent = date.toLocaleTimeString([], { hour12: false });
        const name = document.createElement('strong');
        name.textContent = title;
        const why = document.createElement('span');
        why.textContent = text;
        item.append(time, name, why);
        return item;
      }),
    );
    return true;
  }

  #colour(pathway: string): number {
    const known = this.#colours.get(pathway);
    if (known !== undefined) return known;
    const colour = this.#colours.size % COLOURS;
    this.#colours.set(pathway, colour);
    return colour;
  }
}

function rect(kind: string, x: number, width: number): SVGRectElement {
  const shape = document.createElementNS(SVG, 'rect');
  const stall = kind === 'stall';
  const box = {
    class: kind,
    x,
    y: stall ? HEIGHT - 7 : 0,
    width: Math.max(0, width),
    height: stall ? 7 : HEIGHT,
  };
  for (const [name, value] of Object.entries(box)) shape.setAttribute(name, String(value));
  return shape;
}
