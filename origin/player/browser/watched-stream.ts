import { element, setText } from './page-elements.ts';
import type { PlaybackFailure } from './playback-failure.ts';
import type { Playback, PlaybackPhase } from './playback.ts';
import { retryPauseMs } from './retry-pause.ts';
import type { StreamDirectory } from './stream-directory.ts';
import { describeSituation, type ViewerMessage } from './viewer-message.ts';

/** A playlist that has ended is looked at again this soon at the earliest, when the list says the stream is live. */
const RESTART_PAUSE_MS = 1_500;
/** Playing this long, a failure counts as the first of a new row. */
const HEALTHY_MS = 10_000;

/** The stream the viewer has chosen: starts it, starts it again when it fails or returns, and says what is going on. */
export class WatchedStream {
  readonly #playback: Playback;
  readonly #directory: StreamDirectory;
  readonly #onChange: () => void;
  readonly #box = element('message', HTMLDivElement);
  readonly #title = element('message-title', HTMLHeadingElement);
  readonly #detail = element('message-detail', HTMLParagraphElement);
  readonly #action = element('message-action', HTMLButtonElement);
  #id: string | undefined;
  #url: string | undefined;
  #message: ViewerMessage | undefined;
  #unknown = false;
  #attempt = 0;
  #retryAtMs: number | undefined;
  #loadedMs = Number.NEGATIVE_INFINITY;
  #listedState: string | undefined;
  #seenPhase: PlaybackPhase = 'idle';
  #lastFailure: PlaybackFailure | undefined;

  /** @param onChange called after whatever may have to be shown anew */
  constructor(playback: Playback, directory: StreamDirectory, onChange: () => void) {
    this.#playback = playback;
    this.#directory = directory;
    this.#onChange = onChange;
    this.#action.addEventListener('click', () => this.#act());
  }

  get id(): string | undefined {
    return this.#id;
  }

  get message(): ViewerMessage | undefined {
    return this.#message;
  }

  /** Plays another stream; undefined: whichever is live. */
  choose(id: string | undefined): void {
    if (id === this.#id && id !== undefined) return;
    this.#playback.unload();
    this.#id = id;
    this.#url = undefined;
    this.#unknown = false;
    this.#attempt = 0;
    this.#retryAtMs = undefined;
    this.#listedState = undefined;
    this.#lastFailure = undefined;
    if (id === undefined) this.onDirectoryChange();
    // A deep link need not wait for the list: the address of a stream follows from its id.
    else this.#load();
    this.#show();
  }

  onDirectoryChange(): void {
    const first = this.#directory.streams[0];
    if (this.#id === undefined && first !== undefined) {
      this.choose(first.id);
      return;
    }
    const listed = this.#id === undefined ? undefined : this.#directory.find(this.#id);
    const returned = listed?.state === 'live' && this.#listedState !== 'live';
    this.#listedState = listed?.state;
    if (listed !== undefined) this.#unknown = false;
    if (listed?.state === 'live' && this.#waitsForReturn(returned)) this.#load();
    this.#show();
  }

  onPlaybackChange(): void {
    const { phase, failure } = this.#playback;
    if (phase !== this.#seenPhase) {
      this.#seenPhase = phase;
      if (phase !== 'loading') this.#lastFailure = failure;
      if (phase === 'failed' && failure !== undefined) {
        const healthy = performance.now() - this.#loadedMs > HEALTHY_MS;
        this.#attempt = healthy ? 0 : this.#attempt + 1;
        const pauseMs = retryPauseMs(failure, this.#attempt, Math.random());
        this.#retryAtMs = pauseMs === undefined ? undefined : performance.now() + pauseMs;
        if (failure === 'missing') void this.#askWhetherUnknown();
        void this.#directory.refresh();
      }
    }
    this.#show();
  }

  /** Called a few times a second. */
  onTime(): void {
    if (this.#retryAtMs !== undefined && performance.now() >= this.#retryAtMs) {
      this.#retryAtMs = undefined;
      if (this.#playback.phase === 'failed') this.#load();
    }
    this.#show();
  }

  /** Whether the stream's appearance in the list is a reason to load it. */
  #waitsForReturn(returned: boolean): boolean {
    const { phase, failure } = this.#playback;
    if (performance.now() - this.#loadedMs < RESTART_PAUSE_MS) return false;
    if (phase === 'failed') return failure === 'missing' || returned;
    return phase === 'ended' || phase === 'recording';
  }

  #load(): void {
    if (this.#id === undefined) return;
    this.#retryAtMs = undefined;
    this.#loadedMs = performance.now();
    const listed =
      this.#directory.find(this.#id)?.playlistUrl ?? `/live/${encodeURIComponent(this.#id)}/master.m3u8`;
    this.#url = atEdge(listed, this.#attempt);
    this.#playback.load(this.#url);
  }

  /** Tells a stream that is offline from one that does not exist, by the code of the server's answer. */
  async #askWhetherUnknown(): Promise<void> {
    const { id } = this;
    if (id === undefined) return;
    try {
      const response = await fetch(`/live/${encodeURIComponent(id)}/master.m3u8`, {
        cache: 'no-store',
        signal: AbortSignal.timeout(4_000),
      });
      const problem: unknown = response.status === 404 ? await response.json() : undefined;
      const code = typeof problem === 'object' && problem !== null && 'code' in problem ? problem.code : '';
      if (id === this.#id) this.#unknown = code === 'stream_not_found';
    } catch (error) {
      // Not known either way: the message says "offline", which the list corrects when the stream is there.
      console.warn('stream:', error);
    }
    this.#show();
  }

  #act(): void {
    switch (this.#message?.action?.does) {
      case 'play':
        this.#playback.play();
        return;
      case 'reload':
        this.#load();
        return;
      case 'recording':
        if (this.#url !== undefined) this.#playback.load(this.#url, 'recording');
        return;
      case undefined:
        return;
    }
  }

  #show(): void {
    const listed = this.#id === undefined ? undefined : this.#directory.find(this.#id);
    const message = describeSituation({
      streamId: this.#id,
      streamName: listed?.name,
      listedState: listed?.state,
      serverReachable: this.#directory.reachable,
      online: navigator.onLine,
      phase: this.#playback.phase,
      failure: this.#playback.failure ?? this.#lastFailure,
      trouble: this.#playback.trouble,
      unknownStream: this.#unknown,
      stalledMs: this.#playback.stalls.currentMs,
      broadcastGap: this.#playback.broadcastGap,
    });
    this.#message = message;
    this.#box.hidden = message === undefined;
    if (message !== undefined) {
      setText(this.#title, message.title);
      setText(this.#detail, message.detail);
      this.#box.toggleAttribute('data-busy', message.busy);
      this.#action.hidden = message.action === undefined;
      setText(this.#action, message.action?.label ?? '');
    }
    this.#onChange();
  }
}

/**
 * A playlist of this host by way of the edge, where the page names one: that gives the viewer CDNs. Every other attempt goes
 * to this host itself, so that an edge that cannot be reached costs one attempt. `?source=origin` leaves the edge out.
 */
function atEdge(playlistUrl: string, attempt: number): string {
  const edge = document.querySelector<HTMLMetaElement>('meta[name="playback-edge"]')?.content ?? '';
  const isWanted = new URLSearchParams(location.search).get('source') !== 'origin';
  const isOwn = playlistUrl.startsWith('/') && location.protocol === 'http:';
  return edge !== '' && isWanted && isOwn && attempt % 2 === 0 ? edge + playlistUrl : playlistUrl;
}
