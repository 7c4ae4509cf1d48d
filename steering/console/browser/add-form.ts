import type { NewCdn, Simulation } from './api-types.ts';
import { el } from './elements.ts';
import { PreviewedForm } from './previewed-form.ts';

export type AddFormDeps = {
  readonly preview: (cdn: NewCdn, reason: string) => Promise<Simulation>;
  readonly add: (cdn: NewCdn, reason: string) => Promise<void>;
  readonly describe: (error: unknown) => string;
};

const WEIGHT_MAX = 1_000;

/** Adds a CDN with what is needed for one; everything else has a default and the API. */
export class AddForm {
  readonly element: HTMLDetailsElement;
  readonly #summary = el('summary', {}, 'Add a CDN');
  readonly #form: PreviewedForm<NewCdn>;
  readonly #name: HTMLInputElement;
  readonly #baseUrl: HTMLInputElement;
  readonly #weight: HTMLInputElement;

  constructor(deps: AddFormDeps) {
    const refresh = (): void => this.#form.refresh();
    const text = { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', required: true };
    this.#name = el('input', {
      ...text,
      id: 'add-name',
      type: 'text',
      maxlength: 64,
      pattern: '[A-Za-z0-9._\\-]+',
      title: 'letters, digits and . _ -',
      input: refresh,
    });
    this.#baseUrl = el('input', {
      ...text,
      id: 'add-base-url',
      type: 'url',
      maxlength: 512,
      placeholder: 'https://cdn.example',
      input: refresh,
    });
    this.#weight = el('input', {
      id: 'add-weight',
      type: 'number',
      min: 0,
      max: WEIGHT_MAX,
      step: 1,
      value: 0,
      required: true,
      inputmode: 'numeric',
      'aria-describedby': 'add-weight-hint',
      input: refresh,
    });
    this.#form = new PreviewedForm<NewCdn>(
      { id: 'add', apply: 'Add', discard: 'Discard' },
      {
        wish: () => this.#wish(),
        preview: deps.preview,
        apply: async (cdn, reason) => {
          await deps.add(cdn, reason);
          this.#close();
        },
        discard: () => this.#close(),
        describe: deps.describe,
      },
      [
        el('label', { for: 'add-name' }, 'Name'),
        this.#name,
        el('label', { for: 'add-base-url' }, 'Base URL'),
        this.#baseUrl,
        el('label', { for: 'add-weight' }, 'Weight'),
        this.#weight,
        el(
          'p',
          { class: 'hint', id: 'add-weight-hint' },
          'With 0 it is probed, and no viewer is sent there.',
        ),
      ],
    );
    this.element = el('details', { class: 'panel add', id: 'add-cdn' }, this.#summary, this.#form.element);
  }

  #wish(): NewCdn | undefined {
    const fields = [this.#name, this.#baseUrl, this.#weight];
    if (!fields.every((field) => field.validity.valid)) return undefined;
    return {
      name: this.#name.value,
      baseUrl: this.#baseUrl.value.trim(),
      weight: Number(this.#weight.value),
    };
  }

  #close(): void {
    this.#name.value = '';
    this.#baseUrl.value = '';
    this.#weight.value = '0';
    this.#form.reset();
    this.element.open = false;
    this.#summary.focus();
  }
}
