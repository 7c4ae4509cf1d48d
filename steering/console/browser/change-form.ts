import type { CdnChange, ChangeRequest, Simulation } from './api-types.ts';
import { el } from './elements.ts';
import { localMinute } from './format.ts';
import { PreviewedForm } from './previewed-form.ts';

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

/** A change of a CDN's weight or switch: at once or at a set time, for good or for a while. */
export class ChangeForm {
  readonly element: HTMLFormElement;
  readonly #form: PreviewedForm<Omit<ChangeRequest, 'reason'>>;
  readonly #revert: HTMLSelectElement;
  readonly #schedule: HTMLInputElement;
  readonly #summary = el('p', { class: 'summary' });
  #change: CdnChange = {};

  constructor(id: string, deps: ChangeFormDeps) {
    this.#revert = el(
      'select',
      { id: `${id}-revert`, change: () => this.#form.refresh() },
      ...REVERT_CHOICES.map(([label, value]) => el('option', { value }, label)),
    );
    this.#schedule = el('input', {
      id: `${id}-schedule`,
      type: 'datetime-local',
      'aria-describedby': `${id}-schedule-hint`,
      input: () => this.#form.refresh(),
    });
    this.#form = new PreviewedForm<Omit<ChangeRequest, 'reason'>>(
      { id, apply: 'Apply', discard: 'Discard' },
      {
        wish: () => this.#wish(),
        preview: (wish, reason) => deps.preview({ ...wish, reason }),
        apply: (wish, reason) => deps.apply({ ...wish, reason }),
        discard: deps.discard,
        describe: deps.describe,
      },
      [this.#summary],
      [
        el('label', { for: `${id}-revert` }, 'Take back after'),
        this.#revert,
        el('label', { for: `${id}-schedule` }, 'At'),
        this.#schedule,
        el('p', { class: 'hint', id: `${id}-schedule-hint` }, 'Your local time; empty: at once.'),
      ],
    );
    this.element = this.#form.element;
    this.element.hidden = true;
  }

  /** Shows the form for a change, or hides it when there is none. */
  show(change: CdnChange, summary: string): void {
    const wasHidden = this.element.hidden;
    this.#change = change;
    this.#summary.textContent = summary;
    this.element.hidden = Object.keys(change).length === 0;
    if (this.element.hidden) {
      this.#revert.value = '';
      this.#schedule.value = '';
      this.#form.reset();
    } else if (wasHidden) this.#schedule.min = localMinute(new Date());
    this.#form.refresh();
  }

  #wish(): Omit<ChangeRequest, 'reason'> | undefined {
    // A time that is only half typed is not "at once".
    if (Object.keys(this.#change).length === 0 || this.#schedule.validity.badInput) return undefined;
    const seconds = Number(this.#revert.value);
    const schedule = this.#schedule.value;
    return {
      ...this.#change,
      ...(seconds > 0 ? { revertAfter: seconds } : {}),
      ...(schedule === '' ? {} : { schedule: new Date(schedule).toISOString() }),
    };
  }
}
