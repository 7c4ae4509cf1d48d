import type { PlannedChange } from './api-types.ts';
import { el } from './elements.ts';
import { dateTime } from './format.ts';

/** Changes that are still to come, with the means to call them off. */
export class PlannedList {
  readonly element: HTMLElement;
  readonly #list = el('ul', { class: 'planned' });
  readonly #cancel: ((change: PlannedChange) => void) | undefined;
  #drawn = '';

  /** @param cancel `undefined` for those who may not */
  constructor(cancel: ((change: PlannedChange) => void) | undefined) {
    this.#cancel = cancel;
    this.element = el(
      'section',
      { class: 'panel', id: 'planned' },
      el('h2', {}, 'Changes to come'),
      this.#list,
    );
    this.element.hidden = true;
  }

  update(changes: readonly PlannedChange[]): void {
    this.element.hidden = changes.length === 0;
    const drawn = JSON.stringify(changes);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#list.replaceChildren(...changes.map((change) => this.#item(change)));
  }

  #item(change: PlannedChange): HTMLElement {
    const what = Object.entries(change.patch)
      .map(([field, value]) => `${field} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
      .join(', ');
    const kind = change.kind === 'revert' ? 'take back' : 'change';
    const cancel = this.#cancel;
    return el(
      'li',
      {},
      el('time', { datetime: change.dueAt }, dateTime(change.dueAt)),
      el('span', {}, `${kind} ${change.cdn}: ${what}`),
      el('q', {}, change.reason),
      ...(cancel === undefined
        ? []
        : [
            el(
              'button',
              {
                type: 'button',
                class: 'quiet',
                'aria-label': `Call off: ${kind} ${change.cdn}`,
                click: () => cancel(change),
              },
              'Call off',
            ),
          ]),
    );
  }
}
