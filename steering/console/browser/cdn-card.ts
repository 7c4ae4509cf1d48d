import type { CdnChange, CdnView, ChangeRequest, HealthReport, Simulation } from './api-types.ts';
import { ChangeForm } from './change-form.ts';
import { el, setText } from './elements.ts';
import { count, duration, percent, words } from './format.ts';
import { HealthChart } from './health-chart.ts';

export type CdnCardDeps = {
  /** Whether the one who has logged in may change anything. */
  readonly mayChange: boolean;
  /** Whether the chart is shown from the beginning. */
  readonly chartOpen: boolean;
  readonly preview: (cdn: CdnView, request: ChangeRequest) => Promise<Simulation>;
  readonly apply: (cdn: CdnView, request: ChangeRequest) => Promise<void>;
  readonly describe: (error: unknown) => string;
};

/** The slider reaches this far; larger weights are typed in. */
const SLIDER_MAX = 200;
const WEIGHT_MAX = 1_000;

/** One CDN: what it is set to, how it fares, and the means to change it. */
export class CdnCard {
  readonly element: HTMLElement;
  readonly #name: HTMLElement;
  readonly #swatch = el('span', { 'aria-hidden': 'true' });
  readonly #badge = el('span', { class: 'badge' });
  readonly #since = el('span', { class: 'since' });
  readonly #reasons = el('p', { class: 'reasons' });
  readonly #figures: Readonly<Record<'share' | 'viewers' | 'gbps' | 'health', HTMLElement>>;
  readonly #slider: HTMLInputElement;
  readonly #weight: HTMLInputElement;
  readonly #enabled: HTMLInputElement;
  readonly #form: ChangeForm;
  readonly #chart: HealthChart;
  readonly #details: HTMLDetailsElement;
  #view: CdnView;

  constructor(view: CdnView, index: number, deps: CdnCardDeps) {
    this.#view = view;
    const id = `cdn-${index}-${view.name.replaceAll('.', '_')}`;
    this.#name = el('h3', { id: `${id}-name` }, view.name);
    this.#chart = new HealthChart(view.name);
    this.#details = el(
      'details',
      { open: deps.chartOpen },
      el('summary', {}, 'Health over the last 15 minutes'),
      this.#chart.element,
    );
    const readOnly = !deps.mayChange;
    this.#slider = el('input', {
      id: `${id}-slider`,
      type: 'range',
      min: 0,
      max: SLIDER_MAX,
      step: 1,
      disabled: readOnly,
      'aria-label': `Weight of ${view.name}`,
      input: () => this.#edit(Number(this.#slider.value)),
    });
    this.#weight = el('input', {
      id: `${id}-weight`,
      type: 'number',
      min: 0,
      max: WEIGHT_MAX,
      step: 1,
      disabled: readOnly,
      inputmode: 'numeric',
      input: () => this.#edit(Number(this.#weight.value)),
    });
    this.#enabled = el('input', {
      id: `${id}-enabled`,
      type: 'checkbox',
      role: 'switch',
      disabled: readOnly,
      change: () => this.#showForm(),
    });
    this.#form = new ChangeForm(id, {
      preview: (request) => deps.preview(this.#view, request),
      apply: async (request) => {
        await deps.apply(this.#view, request);
        this.#discard();
      },
      discard: () => this.#discard(),
      describe: deps.describe,
    });
    this.#figures = { share: figure(), viewers: figure(), gbps: figure(), health: figure() };
    this.element = this.#build(id);
    this.#discard();
  }

  /** Takes in what is new; what the operator is editing stays. */
  update(view: CdnView, index: number): void {
    const wasDirty = Object.keys(this.#change()).length > 0;
    this.#view = view;
    this.#swatch.className = `swatch hue-${index % 8}`;
    const { status } = view;
    const state = view.enabled ? status.health.state : 'disabled';
    this.element.dataset['state'] = state;
    this.#badge.className = `badge ${state}`;
    setText(this.#badge, state);
    setText(this.#figures.share, percent(status.expectedShare));
    setText(this.#figures.viewers, count(status.viewers));
    setText(this.#figures.gbps, status.gbps.toFixed(2));
    setText(this.#figures.health, percent(status.health.factor));
    if (wasDirty) this.#showForm();
    else this.#discard();
  }

  updateViewers(viewers: number): void {
    setText(this.#figures.viewers, count(viewers));
  }

  /** Whether the operator looks at the chart. */
  get chartOpen(): boolean {
    return this.#details.open;
  }

  updateHealth({ here, history }: HealthReport, nowMs: number): void {
    this.#chart.update(history, nowMs);
    setText(this.#since, here.sinceMs > 0 ? `for ${duration(nowMs - here.sinceMs)}` : '');
    setText(this.#reasons, here.reasons.map(words).join(', '));
  }

  #build(id: string): HTMLElement {
    const number = (label: string, value: HTMLElement): HTMLElement =>
      el('div', {}, el('dt', {}, label), value);
    return el(
      'article',
      { class: 'panel cdn', 'data-cdn': this.#view.name, 'aria-labelledby': `${id}-name` },
      el(
        'header',
        {},
        this.#swatch,
        this.#name,
        this.#badge,
        this.#since,
        el('label', { class: 'switch', for: `${id}-enabled` }, this.#enabled, el('span', {}, 'enabled')),
      ),
      this.#reasons,
      el('p', { class: 'base-url' }, this.#view.baseUrl),
      el(
        'dl',
        { class: 'figures' },
        number('sessions', this.#figures.share),
        number('viewers', this.#figures.viewers),
        number('Gbit/s', this.#figures.gbps),
        number('health', this.#figures.health),
      ),
      el(
        'div',
        { class: 'weight' },
        el('label', { for: `${id}-weight` }, 'Weight'),
        this.#slider,
        this.#weight,
      ),
      this.#form.element,
      this.#details,
    );
  }

  #edit(weight: number): void {
    const clamped = Math.min(WEIGHT_MAX, Math.max(0, Math.round(Number.isFinite(weight) ? weight : 0)));
    this.#setWeight(clamped);
    this.#showForm();
  }

  #setWeight(weight: number): void {
    const text = String(weight);
    if (this.#weight.value !== text) this.#weight.value = text;
    this.#slider.value = text;
  }

  #change(): CdnChange {
    const weight = Number(this.#weight.value);
    const enabled = this.#enabled.checked;
    return {
      ...(weight === this.#view.weight ? {} : { weight }),
      ...(enabled === this.#view.enabled ? {} : { enabled }),
    };
  }

  #showForm(): void {
    const change = this.#change();
    const { weight, enabled, name } = this.#view;
    const parts = [
      ...(change.weight === undefined ? [] : [`weight ${weight} → ${change.weight}`]),
      ...(change.enabled === undefined ? [] : [enabled ? 'disable' : 'enable']),
    ];
    this.#form.show(change, `${name}: ${parts.join(', ')}`);
  }

  #discard(): void {
    this.#setWeight(this.#view.weight);
    this.#enabled.checked = this.#view.enabled;
    this.#form.show({}, '');
  }
}

function figure(): HTMLElement {
  return el('dd', {}, '–');
}
