import type { CdnView } from './api-types.ts';
import { el, setText } from './elements.ts';
import { percent } from './format.ts';

/** How the sessions are split between the CDNs, as one bar. Colours follow the order of the CDNs. */
export class SplitBar {
  readonly element: HTMLElement;
  readonly #bar = el('div', { class: 'split', role: 'img' });
  readonly #pieces = new Map<string, HTMLElement>();

  constructor() {
    this.element = el('section', { class: 'panel' }, el('h2', {}, 'Split of sessions'), this.#bar);
  }

  update(cdns: readonly CdnView[]): void {
    const names = new Set(cdns.map(({ name }) => name));
    for (const [name, piece] of this.#pieces) {
      if (names.has(name)) continue;
      piece.remove();
      this.#pieces.delete(name);
    }
    for (const [index, { name, status }] of cdns.entries()) {
      const piece = this.#pieces.get(name) ?? this.#newPiece(name);
      piece.className = `piece hue-${index % 8}`;
      piece.style.flexGrow = String(status.expectedShare);
      piece.hidden = status.expectedShare === 0;
      piece.title = `${name}: ${percent(status.expectedShare)}`;
      setText(piece, status.expectedShare >= 0.08 ? `${name} ${percent(status.expectedShare)}` : '');
    }
    const label = cdns.map(({ name, status }) => `${name} ${percent(status.expectedShare)}`).join(', ');
    this.#bar.setAttribute('aria-label', label === '' ? 'No CDN' : label);
  }

  #newPiece(name: string): HTMLElement {
    const piece = el('div', { 'data-cdn': name });
    this.#pieces.set(name, piece);
    this.#bar.append(piece);
    return piece;
  }
}
