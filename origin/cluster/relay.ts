import { Counter, Gauge } from 'prom-client';
import type { DeliveryDirectives } from '#protocol/hls/delivery-directives.ts';
import {
  initUri,
  MEDIA_PLAYLIST,
  MULTIVARIANT_PLAYLIST,
  partUri,
  segmentUri,
} from '#protocol/hls/media-uris.ts';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Client, HeldRequests } from '#origin/live/held-requests.ts';
import type { MediaAnswer, Playback, PlaylistAnswer } from '#origin/live/live-playback.ts';
import { RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';
import { PeerUnavailableError, type PeerAnswer, type PeerClient } from '#origin/cluster/peer-client.ts';
import { RelayCache } from '#origin/cluster/relay-cache.ts';
import { SharedPulls } from '#origin/cluster/shared-pulls.ts';

/** Headers with which an origin answers a relay, so that the relay can answer as the origin itself would. */
export const RELAY_HEADERS = {
  freshness: 'livehls-freshness',
  targetDuration: 'livehls-target-duration',
  digest: 'livehls-digest',
  kind: 'livehls-kind',
} as const;
export const RELAY_PATH = '/internal/v1/live';

export type RelaySettings = {
  readonly cacheBytesMax: number;
  /** Requests that may wait for one object. */
  readonly waitersMax: number;
  /** Where the sources answer relays; {@link RELAY_PATH} unless said otherwise. */
  readonly path?: string;
  /** How long a playlist without directives, and a refusal, are given out again, ms. */
  readonly plainKeptMs?: number;
  readonly refusalKeptMs?: number;
};

export type RelayDeps = {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly holds: HeldRequests;
  readonly peers: Pick<PeerClient, 'call'>;
  /** Whom to ask for a stream, best first; never this origin itself. */
  readonly sourcesOf: (streamId: string) => readonly string[];
};

type Pulled =
  | { readonly kind: 'playlist'; readonly answer: PlaylistAnswer }
  | { readonly kind: 'media'; readonly answer: MediaAnswer };

/** Of a stream that nothing is known of yet. */
const TARGET_DURATION_DEFAULT_S = 4;
/** @spec rfc8216bis §6.2.5.2: longest a request is held, in target durations; and what the way there may add */
const HOLD_TARGETS = 3;
const HOLD_SLACK_MS = 500;
/**
 * A holder that has said nothing for so long is asked no more alone: it may hang. Longer than a part that is waited for
 * as a rule, so that as a rule one holder is asked once.
 */
export const SECOND_SOURCE_AFTER_MS = 1_200;
/** A stream that is asked for without being live shall not be asked for elsewhere each time. */
const REFUSAL_KEPT_MS = 500;
/** Less than a part: a playlist without directives is the newest there is. */
const PLAIN_KEPT_MS = 200;
const MEDIA_KEPT_MS = 60_000;
const STREAMS_KNOWN_MAX = 10_000;

/**
 * Playback of streams that other origins hold. What is asked for is pulled from a holder once, blocking reloads included,
 * and shared by all who want it; what was pulled is kept for a while. A holder that fails or hangs is helped out by the
 * next one within the same request.
 */
export class Relay {
  readonly #deps: RelayDeps;
  readonly #path: string;
  readonly #plainKeptMs: number;
  readonly #refusalKeptMs: number;
  readonly #pulls: SharedPulls<Pulled>;
  readonly #cache: RelayCache<Pulled | ProblemError>;
  readonly #targetDurations = new Map<string, number>();
  readonly #requests: Counter<'from'>;
  readonly #calls: Counter<'outcome'>;

  constructor(settings: RelaySettings, deps: RelayDeps) {
    this.#deps = deps;
    this.#path = settings.path ?? RELAY_PATH;
    this.#plainKeptMs = settings.plainKeptMs ?? PLAIN_KEPT_MS;
    this.#refusalKeptMs = settings.refusalKeptMs ?? REFUSAL_KEPT_MS;
    this.#pulls = new SharedPulls(settings, deps);
    this.#cache = new RelayCache(settings.cacheBytesMax);
    const registers = [deps.metrics];
    this.#requests = new Counter({
      name: 'origin_relay_requests_total',
      help: 'Requests for streams that other origins hold, answered from the cache, or from a pull.',
      labelNames: ['from'],
      registers,
    });
    this.#calls = new Counter({
      name: 'origin_relay_pulls_total',
      help: 'Objects asked of other origins, by outcome: ok, refused, failed.',
      labelNames: ['outcome'],
      registers,
    });
    const [cache, pulls] = [this.#cache, this.#pulls];
    new Gauge({
      name: 'origin_relay_cache_bytes',
      help: 'Bytes kept of what was pulled from other origins.',
      registers,
      collect() {
        this.set(cache.bytes);
      },
    });
    new Gauge({
      name: 'origin_relay_pulls',
      help: 'Objects that are being pulled from other origins.',
      registers,
      collect() {
        this.set(pulls.size);
      },
    });
  }

  /** The reading side of a stream that is held elsewhere. */
  playback(streamId: string): Playback {
    const playlist = async (path: string, client: Client): Promise<PlaylistAnswer> => {
      const pulled = await this.#get(streamId, path, client);
      if (pulled.kind === 'playlist') return pulled.answer;
      throw new TypeError(`${path} is no playlist`);
    };
    const media = async (path: string, client: Client): Promise<MediaAnswer> => {
      const pulled = await this.#get(streamId, path, client);
      if (pulled.kind === 'media') return pulled.answer;
      throw new TypeError(`${path} is no media`);
    };
    return {
      multivariant: (client) => playlist(MULTIVARIANT_PLAYLIST, client),
      playlist: (renditionId, directives, client) =>
        playlist(`${renditionId}/${MEDIA_PLAYLIST}${canonicalQuery(directives)}`, client),
      segmentOrRecorded: (renditionId, msn, client) => media(`${renditionId}/${segmentUri(msn)}`, client),
      part: (renditionId, msn, part, client) => media(`${renditionId}/${partUri(msn, part)}`, client),
      init: (renditionId, timeline, client) => media(`${renditionId}/${initUri(timeline)}`, client),
    };
  }

  async #get(streamId: string, path: string, client: Client): Promise<Pulled> {
    const key = `${streamId}/${path}`;
    const kept = this.#cache.get(key, this.#deps.clock.monotonicMs());
    this.#requests.inc({ from: kept === undefined ? 'pull' : 'cache' });
    if (kept instanceof ProblemError) throw kept;
    if (kept !== undefined) return kept;
    const holdMs = this.#holdMs(streamId);
    return this.#pulls.join(key, (signal) => this.#pull(streamId, key, holdMs, signal), { holdMs, client });
  }

  async #pull(streamId: string, key: string, holdMs: number, signal: AbortSignal): Promise<Pulled> {
    try {
      const pulled = read(await this.#askSources(streamId, key, holdMs, signal), this.#deps.holds);
      if (pulled.kind === 'playlist') this.#learn(streamId, pulled.answer.targetDurationS);
      this.#keep(key, pulled);
      return pulled;
    } catch (error) {
      if (error instanceof ProblemError && error.status === 404)
        this.#cache.put(key, error, 0, this.#deps.clock.monotonicMs(), this.#refusalKeptMs);
      throw error;
    }
  }

  /** The first source's answer, or that of the next one when it fails, refuses or hangs. */
  async #askSources(streamId: string, key: string, holdMs: number, signal: AbortSignal): Promise<PeerAnswer> {
    const sources = this.#deps.sourcesOf(streamId);
    const rest = new AbortController();
    const giveUp = (): void => rest.abort();
    signal.addEventListener('abort', giveUp, { once: true });
    const answered = Promise.withResolvers<PeerAnswer>();
    const failures: unknown[] = [];
    let asked = 0;
    const askNext = (): void => {
      const source = sources[asked];
      if (source === undefined) return;
      asked += 1;
      const timer = this.#deps.clock.after(SECOND_SOURCE_AFTER_MS, askNext);
      this.#ask(source, key, holdMs, rest.signal).then(
        (answer) => {
          timer.cancel();
          answered.resolve(answer);
        },
        (error: unknown) => {
          timer.cancel();
          failures.push(error);
          if (failures.length === sources.length) answered.reject(worstOf(failures));
          else if (failures.length === asked) askNext();
        },
      );
    };
    try {
      if (sources.length === 0) throw offline();
      askNext();
      return await answered.promise;
    } finally {
      signal.removeEventListener('abort', giveUp);
      rest.abort();
    }
  }

  async #ask(source: string, key: string, holdMs: number, signal: AbortSignal): Promise<PeerAnswer> {
    try {
      const path = `${this.#path}/${key}`;
      const answer = await this.#deps.peers.call(source, { method: 'GET', path, timeoutMs: holdMs, signal });
      this.#calls.inc({ outcome: 'ok' });
      return answer;
    } catch (error) {
      this.#calls.inc({ outcome: error instanceof ProblemError ? 'refused' : 'failed' });
      throw error;
    }
  }

  #keep(key: string, pulled: Pulled): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (pulled.kind === 'media') {
      this.#cache.put(key, pulled, pulled.answer.media.bytes.length, nowMs, MEDIA_KEPT_MS);
      return;
    }
    const { freshness, targetDurationS, rendered } = pulled.answer;
    // A gzip of it comes on top.
    const bytes = 2 * rendered.identity.length;
    if (freshness === 'blocking')
      this.#cache.put(key, pulled, bytes, nowMs, HOLD_TARGETS * targetDurationS * 1_000);
    else if (freshness !== 'interim') this.#cache.put(key, pulled, bytes, nowMs, this.#plainKeptMs);
  }

  #holdMs(streamId: string): number {
    const targetDurationS = this.#targetDurations.get(streamId) ?? TARGET_DURATION_DEFAULT_S;
    return HOLD_TARGETS * targetDurationS * 1_000 + HOLD_SLACK_MS;
  }

  #learn(streamId: string, targetDurationS: number): void {
    this.#targetDurations.delete(streamId);
    this.#targetDurations.set(streamId, targetDurationS);
    const [oldest] = this.#targetDurations.keys();
    if (this.#targetDurations.size > STREAMS_KNOWN_MAX && oldest !== undefined)
      this.#targetDurations.delete(oldest);
  }
}

/** Always in the same order, and nothing but the directives: one name for each version of a playlist. */
function canonicalQuery({ block, form }: DeliveryDirectives): string {
  const parameters = [
    ...(block === undefined ? [] : [`_HLS_msn=${block.msn}`]),
    ...(block?.part === undefined ? [] : [`_HLS_part=${block.part}`]),
    ...(form === 'full' ? [] : [`_HLS_skip=${form === 'delta' ? 'YES' : 'v2'}`]),
  ];
  return parameters.length === 0 ? '' : `?${parameters.join('&')}`;
}

function read({ header, bytes }: PeerAnswer, { metrics }: HeldRequests): Pulled {
  const freshness = header(RELAY_HEADERS.freshness);
  const targetDurationS = Number(header(RELAY_HEADERS.targetDuration));
  const digest = header(RELAY_HEADERS.digest) ?? '';
  const kind = header(RELAY_HEADERS.kind);
  if (isFreshness(freshness) && targetDurationS > 0) {
    const rendered = new RenderedPlaylist(new TextDecoder().decode(bytes), metrics);
    return { kind: 'playlist', answer: { rendered, freshness, targetDurationS } };
  }
  if (/^[\w-]{43}$/.test(digest) && (kind === 'video' || kind === 'audio'))
    return { kind: 'media', answer: { media: { bytes, digest }, kind } };
  throw unavailable(new PeerUnavailableError('a holder answered neither a playlist nor media'));
}

function isFreshness(value: string | undefined): value is PlaylistAnswer['freshness'] {
  return value === 'blocking' || value === 'plain' || value === 'interim' || value === 'ended';
}

/** What a holder has refused says more than that another one does not answer. */
function worstOf(failures: readonly unknown[]): Error {
  const problems = failures.filter((error) => error instanceof ProblemError);
  const [problem] = problems.toSorted((a, b) => rankOf(a) - rankOf(b));
  return problem ?? unavailable(failures[0]);
}

function unavailable(cause: unknown): ProblemError {
  return new ProblemError(
    503,
    'holders_unavailable',
    'No origin that holds this stream answers now; try again.',
    { headers: { 'retry-after': '1' }, cause },
  );
}

/** A client's mistake is certain; that the stream is not there may be so at one holder only. */
function rankOf({ status, code }: ProblemError): number {
  if (status === 400) return 0;
  if (code !== 'stream_offline') return 1;
  return 2;
}

function offline(): ProblemError {
  return new ProblemError(404, 'stream_offline', 'Nobody publishes this stream now.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}
