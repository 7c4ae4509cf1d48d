/** A stream as `GET /api/v1/live` lists it. */
export type ListedStream = {
  readonly id: string;
  readonly name: string;
  /** `live`, or `reconnecting` while its broadcaster is away. */
  readonly state: string;
  /** URL of its multivariant playlist. */
  readonly playlistUrl: string;
};

const POLL_MS = 2_500;
const POLL_HIDDEN_MS = 15_000;
const ANSWER_DEADLINE_MS = 4_000;
const STREAMS_SHOWN_MAX = 200;

/** Keeps the list of live streams up to date by asking the origin again and again while the page is open. */
export class StreamDirectory {
  #streams: readonly ListedStream[] = [];
  #reachable: boolean | undefined;
  #timer: number | undefined;
  #asking = false;
  readonly #onChange: () => void;

  /** @param onChange called after every answer and every failure to get one */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get streams(): readonly ListedStream[] {
    return this.#streams;
  }

  /** Whether the last request was answered; undefined before the first. */
  get reachable(): boolean | undefined {
    return this.#reachable;
  }

  find(id: string): ListedStream | undefined {
    return this.#streams.find((stream) => stream.id === id);
  }

  /** Asks now and from then on regularly. */
  async refresh(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    window.clearTimeout(this.#timer);
    try {
      const response = await fetch('/api/v1/live', {
        cache: 'no-store',
        signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
      });
      if (!response.ok) throw new Error(`the list of streams was answered ${response.status}`);
      this.#streams = readStreams(await response.json(), location.host);
      this.#reachable = true;
    } catch (error) {
      // The page says that the server cannot be reached; the console says why.
      console.warn('list of streams:', error);
      this.#reachable = false;
    }
    this.#asking = false;
    this.#timer = window.setTimeout(() => void this.refresh(), document.hidden ? POLL_HIDDEN_MS : POLL_MS);
    this.#onChange();
  }
}

/**
 * Takes what is usable of an answer; an entry without an id or a playlist is left out.
 *
 * @param ownHost host and port of the page: playlists there are asked for with the page's own scheme, which behind a TLS
 *   proxy is not the one that the origin sees
 */
export function readStreams(answer: unknown, ownHost: string): ListedStream[] {
  if (!isRecord(answer) || !Array.isArray(answer['streams'])) return [];
  const streams: ListedStream[] = [];
  for (const entry of answer['streams'].slice(0, STREAMS_SHOWN_MAX) as unknown[]) {
    if (!isRecord(entry)) continue;
    const { id, name, state, playback } = entry;
    const playlistUrl = isRecord(playback) ? playback['hls'] : undefined;
    if (typeof id !== 'string' || typeof playlistUrl !== 'string') continue;
    streams.push({
      id,
      name: typeof name === 'string' && name !== '' ? name : id,
      state: typeof state === 'string' ? state : 'live',
      playlistUrl: onOwnHost(playlistUrl, ownHost),
    });
  }
  return streams;
}

function onOwnHost(playlistUrl: string, ownHost: string): string {
  const url = URL.parse(playlistUrl);
  return url?.host === ownHost ? url.pathname + url.search : playlistUrl;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
