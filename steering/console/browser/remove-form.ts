import type { Simulation } from './api-types.ts';
import { el } from './elements.ts';
import { PreviewedForm } from './previewed-form.ts';

export type RemoveFormDeps = {
  readonly preview: (reason: string) => Promise<Simulation>;
  readonly remove: (reason: string) => Promise<void>;
  readonly describe: (error: unknown) => string;
};

/** Takes a CDN out of the registry for good: a button that opens a form, closed again with Escape or "Keep". */
export class RemoveForm {
  readonly element: HTMLElement;
  readonly #opener: HTMLButtonElement;
  readonly #form: PreviewedForm<{ readonly remove: string }>;

  constructor(id: string, name: string, deps: RemoveFormDeps) {
    const formId = `${id}-remove`;
    this.#form = new PreviewedForm<{ readonly remove: string }>(
      { id: formId, apply: 'Remove', discard: 'Keep' },
      {
        wish: () => ({ remove: name }),
        preview: (_, reason) => deps.preview(reason),
        apply: (_, reason) => deps.remove(reason),
        discard: () => this.#open(false),
        describe: deps.describe,
      },
      [
        el(
          'p',
          { class: 'summary' },
          `Remove ${name}: its viewers move to the others. With weight 0 first, they move without loss.`,
        ),
      ],
    );
    this.#form.element.id = formId;
    this.#form.element.setAttribute('aria-label', `Remove ${name}`);
    this.#form.element.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') this.#open(false);
    });
    this.#opener = el(
      'button',
      {
        type: 'button',
        class: 'quiet',
        'aria-expanded': 'false',
        'aria-controls': formId,
        'aria-label': `Remove ${name} …`,
        click: () => this.#open(this.#opener.getAttribute('aria-expanded') === 'false'),
      },
      'Remove …',
    );
    this.element = el('div', { class: 'remove' }, this.#opener);
  }

  #open(isOpen: boolean): void {
    if (isOpen) this.element.append(this.#form.element);
    else this.#form.element.remove();
    this.#opener.setAttribute('aria-expanded', String(isOpen));
    this.#form.reset();
    if (isOpen) this.#form.focus();
    else this.#opener.focus();
  }
}
