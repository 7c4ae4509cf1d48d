import type { Simulation } from './api-types.ts';
import { el } from './elements.ts';
import { count, percent } from './format.ts';

export type PreviewedFormDeps<Wish> = {
  /** What the operator wants now, without the reason; `undefined` while the fields say nothing that can be done. */
  readonly wish: () => Wish | undefined;
  /** Says what it would do. */
  readonly preview: (wish: Wish, reason: string) => Promise<Simulation>;
  readonly apply: (wish: Wish, reason: string) => Promise<void>;
  /** The operator has thought better of it. */
  readonly discard: () => void;
  /** Words for an error of one of these. */
  readonly describe: (error: unknown) => string;
};

export type PreviewedFormTexts = {
  /** Prefix of the ids of the fields. */
  readonly id: string;
  /** On the button that does it. */
  readonly apply: string;
  readonly discard: string;
};

/**
 * Asks for the reason of something, shows what it would do, and only then does it. Whatever is altered after the preview
 * makes a new one necessary; the reason may still be mended.
 */
export class PreviewedForm<Wish> {
  readonly element: HTMLFormElement;
  readonly #deps: PreviewedFormDeps<Wish>;
  readonly #reason: HTMLInputElement;
  readonly #result = el('div', { class: 'preview', role: 'status' });
  readonly #previewButton = el('button', { type: 'submit' }, 'Preview');
  readonly #applyButton: HTMLButtonElement;
  #previewed: string | undefined;
  #busy = false;

  /**
   * @param before fields above the reason
   * @param after fields below it
   */
  constructor(
    texts: PreviewedFormTexts,
    deps: PreviewedFormDeps<Wish>,
    before: readonly HTMLElement[],
    after: readonly HTMLElement[] = [],
  ) {
    this.#deps = deps;
    this.#reason = el('input', {
      id: `${texts.id}-reason`,
      type: 'text',
      maxlength: 500,
      required: true,
      autocomplete: 'off',
      placeholder: 'why?',
      input: () => this.refresh(),
    });
    this.#applyButton = el(
      'button',
      { type: 'button', class: 'apply', click: () => void this.#apply() },
      texts.apply,
    );
    this.element = el(
      'form',
      { class: 'change', submit: (event) => void this.#preview(event) },
      ...before,
      el('label', { for: `${texts.id}-reason` }, 'Reason'),
      this.#reason,
      ...after,
      el(
        'div',
        { class: 'buttons' },
        this.#previewButton,
        this.#applyButton,
        el('button', { type: 'button', class: 'quiet', click: () => deps.discard() }, texts.discard),
      ),
      this.#result,
    );
    this.refresh();
  }

  /** To be called when any field has changed. */
  refresh(): void {
    const wish = this.#deps.wish();
    if (wish === undefined || this.#previewed !== JSON.stringify(wish)) {
      this.#previewed = undefined;
      this.#result.replaceChildren();
    }
    const isReady = !this.#busy && wish !== undefined && this.#reason.value.trim() !== '';
    this.#previewButton.disabled = !isReady;
    this.#applyButton.disabled = !isReady || this.#previewed === undefined;
  }

  /** Forgets reason and preview. */
  reset(): void {
    this.#reason.value = '';
    this.#previewed = undefined;
    this.#result.replaceChildren();
    this.refresh();
  }

  focus(): void {
    this.#reason.focus();
  }

  async #preview(event: Event): Promise<void> {
    event.preventDefault();
    await this.#working(async (wish, reason) => {
      const simulation = await this.#deps.preview(wish, reason);
      this.#previewed = JSON.stringify(wish);
      this.#result.replaceChildren(...describeSimulation(simulation));
    });
  }

  async #apply(): Promise<void> {
    await this.#working(async (wish, reason) => {
      await this.#deps.apply(wish, reason);
      this.#previewed = undefined;
    });
  }

  async #working(work: (wish: Wish, reason: string) => Promise<void>): Promise<void> {
    const wish = this.#deps.wish();
    if (this.#busy || wish === undefined) return;
    this.#busy = true;
    this.element.setAttribute('aria-busy', 'true');
    this.refresh();
    try {
      await work(wish, this.#reason.value.trim());
    } catch (error) {
      this.#previewed = undefined;
      this.#result.replaceChildren(el('p', { class: 'error' }, this.#deps.describe(error)));
    } finally {
      this.#busy = false;
      this.element.removeAttribute('aria-busy');
      const problem = this.#result.querySelector('.error');
      this.refresh();
      if (problem !== null) this.#result.replaceChildren(problem);
    }
  }
}

function describeSimulation({ movedShare, movements, before, after, sessions }: Simulation): Node[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const rows = names.map((name) =>
    el(
      'tr',
      {},
      el('th', { scope: 'row' }, name),
      el('td', {}, percent(before[name] ?? 0)),
      el('td', {}, percent(after[name] ?? 0)),
    ),
  );
  const moves = movements.slice(0, 8).map(({ from, to, share, viewers, gbps }) => {
    const traffic = `${percent(share)} of sessions, about ${count(viewers)} viewers and ${gbps.toFixed(1)} Gbit/s`;
    return el('li', {}, `${from} → ${to}: ${traffic}`);
  });
  return [
    el('p', {}, `${percent(movedShare)} of sessions would move (simulated with ${count(sessions)}).`),
    el(
      'table',
      {},
      el(
        'thead',
        {},
        el('tr', {}, ...['CDN', 'now', 'then'].map((text) => el('th', { scope: 'col' }, text))),
      ),
      el('tbody', {}, ...rows),
    ),
    ...(moves.length === 0 ? [] : [el('ul', {}, ...moves)]),
  ];
}
