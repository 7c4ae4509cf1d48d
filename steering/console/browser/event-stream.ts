/** An event of a stream. @spec HTML Living Standard §9.2 Server-sent events */
export type StreamEvent = { readonly event: string; readonly data: string; readonly id: string };

/** Most characters of an event that are kept; a longer one ends the stream. */
export const EVENT_CHARS_MAX = 4 * 1024 * 1024;

/**
 * Splits the text of an event stream into events, whatever pieces it comes in. Written by hand because the browser's own
 * EventSource cannot send an Authorization header.
 */
export class EventStreamParser {
  #rest = '';
  #event = '';
  #data: string[] = [];
  #chars = 0;
  #id = '';
  #started = false;

  /**
   * Takes the next piece; returns the events that are complete now.
   *
   * @throws {RangeError} when an event is longer than {@link EVENT_CHARS_MAX}
   */
  push(piece: string): StreamEvent[] {
    let text = this.#rest + piece;
    if (!this.#started && text.length > 0) {
      this.#started = true;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    const events: StreamEvent[] = [];
    let from = 0;
    for (;;) {
      const end = lineEnd(text, from);
      if (end === undefined) break;
      const event = this.#line(text.slice(from, end.at));
      if (event !== undefined) events.push(event);
      from = end.next;
    }
    this.#rest = text.slice(from);
    if (this.#rest.length + this.#chars > EVENT_CHARS_MAX) throw new RangeError('an event is too long');
    return events;
  }

  #line(line: string): StreamEvent | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#event = value;
    if (field === 'data') {
      this.#data.push(value);
      this.#chars += value.length;
    }
    if (field === 'id' && !value.includes('\0')) this.#id = value;
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const event = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id };
    const isEmpty = this.#data.length === 0;
    this.#event = '';
    this.#data = [];
    this.#chars = 0;
    return isEmpty ? undefined : event;
  }
}

/** Lines end with LF, CR or both; a CR at the very end may still be followed by its LF. */
function lineEnd(text: string, from: number): { at: number; next: number } | undefined {
  for (let at = from; at < text.length; at++) {
    const char = text[at];
    if (char === '\n') return { at, next: at + 1 };
    if (char !== '\r') continue;
    if (at + 1 === text.length) return undefined;
    return { at, next: text[at + 1] === '\n' ? at + 2 : at + 1 };
  }
  return undefined;
}
