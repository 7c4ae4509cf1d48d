import { EventStreamParser, type StreamEvent } from './event-stream.ts';

/** How it stands with the stream of events. */
export type FeedState = 'connecting' | 'live' | 'lost';

export type EventFeedDeps = {
  readonly open: (signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>;
  readonly onEvent: (event: StreamEvent) => void;
  readonly onState: (state: FeedState) => void;
  /** Whether an error means that trying again is of no use. */
  readonly isFinal: (error: unknown) => boolean;
};

const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 15_000;
/** A stream that is silent for so long is dead; the server sends something every few seconds. */
const SILENCE_MAX_MS = 25_000;

/** Reads the stream of events, and opens it anew when it breaks, with growing and scattered pauses. */
export class EventFeed {
  readonly #deps: EventFeedDeps;
  readonly #abort = new AbortController();

  constructor(deps: EventFeedDeps) {
    this.#deps = deps;
    void this.#run();
  }

  close(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    let pauseMs = RETRY_MIN_MS;
    while (!this.#abort.signal.aborted) {
      this.#deps.onState('connecting');
      try {
        if (await this.#read()) pauseMs = RETRY_MIN_MS;
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        if (this.#deps.isFinal(error)) {
          this.#deps.onState('lost');
          return;
        }
      }
      if (this.#abort.signal.aborted) return;
      this.#deps.onState('lost');
      await this.#pause(pauseMs * (0.5 + Math.random()));
      pauseMs = Math.min(RETRY_MAX_MS, pauseMs * 2);
    }
  }

  /** Reads until the stream ends or falls silent; tells whether anything came. */
  async #read(): Promise<boolean> {
    const once = new AbortController();
    const end = (): void => once.abort();
    this.#abort.signal.addEventListener('abort', end, { once: true });
    let silence = setTimeout(end, SILENCE_MAX_MS);
    let heard = false;
    try {
      const body = await this.#deps.open(once.signal);
      this.#deps.onState('live');
      const parser = new EventStreamParser();
      const reader = body
        .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
        .getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return heard;
        heard = true;
        clearTimeout(silence);
        silence = setTimeout(end, SILENCE_MAX_MS);
        for (const event of parser.push(value)) this.#deps.onEvent(event);
      }
    } finally {
      clearTimeout(silence);
      this.#abort.signal.removeEventListener('abort', end);
      once.abort();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#abort.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
