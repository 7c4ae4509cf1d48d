import { element, setText } from './page-elements.ts';
import type { ListedStream } from './stream-directory.ts';

/** The list of live streams beside the player; every entry is a link that also works in a new tab. */
export class StreamList {
  readonly #list = element('streams', HTMLUListElement);
  readonly #status = element('streams-status', HTMLParagraphElement);
  readonly #onChoose: (id: string) => void;
  #key = '';

  constructor(onChoose: (id: string) => void) {
    this.#onChoose = onChoose;
  }

  update(
    streams: readonly ListedStream[],
    chosenId: string | undefined,
    reachable: boolean | undefined,
  ): void {
    setText(this.#status, statusText(streams.length, reachable));
    const key = JSON.stringify([streams, chosenId]);
    if (key === this.#key) return;
    this.#key = key;
    const focusedId = this.#list.contains(document.activeElement)
      ? document.activeElement?.getAttribute('data-id')
      : undefined;
    this.#list.replaceChildren(...streams.map((stream) => this.#entry(stream, stream.id === chosenId)));
    if (typeof focusedId === 'string')
      this.#list.querySelector<HTMLElement>(`[data-id="${CSS.escape(focusedId)}"]`)?.focus();
  }

  #entry(stream: ListedStream, chosen: boolean): HTMLLIElement {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.className = 'stream';
    link.href = `/watch/${encodeURIComponent(stream.id)}`;
    link.dataset['id'] = stream.id;
    if (chosen) link.setAttribute('aria-current', 'page');
    const name = document.createElement('strong');
    name.textContent = stream.name;
    const state = document.createElement('span');
    state.dataset['state'] = stream.state;
    state.textContent = stateText(stream.state);
    link.append(name, state);
    link.addEventListener('click', (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.#onChoose(stream.id);
    });
    item.append(link);
    return item;
  }
}

/** What a stream's state is called on the page. */
export function stateText(state: string | undefined): string {
  if (state === undefined) return 'Offline';
  if (state === 'live') return '● Live';
  if (state === 'reconnecting') return '● Interrupted';
  return state;
}

function statusText(count: number, reachable: boolean | undefined): string {
  if (reachable === undefined) return 'Looking for live streams…';
  if (!reachable && count === 0) return 'The list cannot be loaded.';
  if (count === 0) return 'Nobody is live.';
  return count === 1 ? '1 stream is live.' : `${count} streams are live.`;
}
