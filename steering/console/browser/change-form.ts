import type { CdnChange, ChangeRequest, Simulation } from './api-types.ts';
import { el } from './elements.ts';
import { count, percent } from './format.ts';

export type ChangeFormDeps = {
  /** Says what the change would do. */
  readonly preview: (request: ChangeRequest) => Promise<Simulation>;
  readonly apply: (request: ChangeRequest) => Promise<void>;
  /** The operator has thought better of it. */
  readonly discard: () => void;
  /** Words for an error of one of these. */
  readonly describe: (error: unknown) => string;
};

const REVERT_CHOICES: readonly [label: string, seconds: string][] = [
  ['never', ''],
  ['5 minutes', '300'],
  ['15 minutes', '900'],
  ['1 hour', '3600'],
  ['1 day', '86400'],
];

/**
 * Asks for the reason of a change, shows what it would do, and only then applies it. Whatever is altered after the preview
 * makes a new one necessary.
 */
export class ChangeForm {
  readonly element: HTMLFormElement;
  readonly #deps: ChangeFormDeps;
  readonly #reason: HTMLInputElement;
  readonly #revert: HTMLSelectElement;
  readonly #summary = el('p', { class: 'summary' });
  readonly #result = el('div', { class: 'preview', role: 'status' });
  readonly #previewButton = el('button', { type: 'submit' }, 'Preview');
  readonly #applyButton: HTMLButtonElement;
  #change: CdnChange = {};
  #previewed: string | undefined;
  #busy = false;

  constructor(id: string, deps: ChangeFormDeps) {
    this.#deps = deps;
    this.#reason = el('input', {
      id: `${id}-reason`,
      type: 'text',
      maxlength: 500,
      required: true,
      autocomplete: 'off',
      placeholder: 'why?',
      input: () => this.#refresh(),
    });
    this.#revert = el(
      'select',
      { id: `${id}-revert`, change: () => this.#refresh() },
      ...REVERT_CHOICES.map(([label, value]) => el('option', { value }, label)),
    );
    this.#applyButton = el(
      'button',
      { type: 'button', class: 'apply', click: () => void this.#apply() },
      'Apply',
    );
    this.element = el(
      'form',
      { class: 'change', submit: (event) => void this.#preview(event) },
      this.#summary,
      el('label', { for: `${id}-reason` }, 'Reason'),
      this.#reason,
      el('label', { for: `${id}-revert` }, 'Take back after'),
      this.#revert,
      el(
        'div',
        { class: 'buttons' },
        this.#previewButton,
        this.#applyButton,
        el('button', { type: 'button', class: 'quiet', click: () => deps.discard() }, 'Discard'),
      ),
      this.#result,
    );
    this.element.hidden = true;
  }

  /** Shows the form for a change, or hides it when there is none. */
  show(change: CdnChange, summary: string): void {
    this.#change = change;
    this.#summary.textContent = summary;
    this.element.hidden = Object.keys(change).length === 0;
    if (this.element.hidden) {
      this.#reason.value = '';
      this.#revert.value = '';
    }
    this.#refresh();
  }

  #request(): ChangeRequest {
    const seconds = Number(this.#revert.value);
    return {
      ...this.#change,
      reason: this.#reason.value.trim(),
      ...(seconds > 0 ? { revertAfter: seconds } : {}),
    };
  }

  /** A preview holds for exactly what it was made for; the reason may still be mended. */
  #key(): string {
    return JSON.stringify({ ...this.#request(), reason: '' });
  }

  #refresh(): void {
    if (this.#previewed !== this.#key()) {
      this.#previewed = undefined;
      this.#result.replaceChildren();
    }
    const hasReason = this.#reason.value.trim() !== '';
    this.#previewButton.disabled = this.#busy || !hasReason;
    this.#applyButton.disabled = this.#busy || !hasReason || this.#previewed === undefined;
  }

  async #preview(event: Event): Promise<void> {
    event.preventDefault();
    const key = this.#key();
    await this.#working(async () => {
      const simulation = await this.#deps.preview(this.#request());
      this.#previewed = key;
      this.#result.replaceChildren(...describeSimulation(simulation));
    });
  }

  async #apply(): Promise<void> {
    await this.#working(async () => {
      await this.#deps.apply(this.#request());
      this.#previewed = undefined;
    });
  }

  async #working(work: () => Promise<void>): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.element.setAttribute('aria-busy', 'true');
    this.#refresh();
    try {
      await work();
    } catch (error) {
      this.#previewed = undefined;
      this.#result.replaceChildren(el('p', { class: 'error' }, this.#deps.describe(error)));
    } finally {
      this.#busy = false;
      this.element.removeAttribute('aria-busy');
      const problem = this.#result.querySelector('.error');
      this.#refresh();
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
