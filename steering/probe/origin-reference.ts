import {
  hasReached,
  nextPart,
  PlaylistReadError,
  readMediaPlaylist,
  type EdgePosition,
  type ListedPart,
  type ReadMediaPlaylist,
} from '#protocol/hls/read-media-playlist.ts';
import { PART_BYTES_MAX } from '#protocol/ingest/part-upload.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { ProbeConnection } from '#steering/probe/probe-connection.ts';
import { ProbeFailure, ProbeUnjudged } from '#steering/probe/probe-failure.ts';
import { edgeOf } from '#steering/probe/probe-scores.ts';
import type { ProbePasses } from '#steering/probe/probe-passes.ts';
import { readVariants } from '#steering/probe/read-multivariant.ts';
import { pinTrusted, TargetRefusedError, type ResolveName } from '#runtime/outbound/target-guard.ts';

/** Most bytes of a playlist, as sent and unpacked. */
export const PLAYLIST_BYTES_MAX = 1024 * 1024;
/** Longest the origin may take for what it has at hand. */
const ORIGIN_DEADLINE_MS = 1_500;
/** Every how many rounds another rung than the top one is taken. */
const OTHER_RUNG_EVERY = 4;

/** What the origin had when a round of probes of one stream began, and what it got next. */
export type ReferenceRound = {
  readonly streamId: string;
  /** Of the multivariant playlist, relative to a base URL; the same for origin and CDNs. */
  readonly masterPath: string;
  /** Path and query of the media playlist below `/live/{streamId}/`. */
  readonly renditionPath: string;
  readonly topBandwidthBps: number;
  readonly lowestBandwidthBps: number;
  readonly playlist: ReadMediaPlaylist;
  /** The part that did not exist yet when `playlist` was made. */
  readonly next: EdgePosition;
  /** Resolves when the origin has it; with `undefined` when it did not come in time, which means a stale origin. */
  readonly reached: Promise<ReferenceReached | undefined>;
  /** The bytes of the part in `reached`; `undefined` when there are none to compare. */
  readonly part: Promise<PartDigest | undefined>;
};

/** The moment at which the next part was there. */
export type ReferenceReached = {
  /** Monotonic ms. */
  readonly atMs: number;
  /** The first part that was new. */
  readonly part: ListedPart | undefined;
};

export type PartDigest = { readonly sha256: string; readonly bytes: number };

export type ReferenceDeps = {
  readonly clock: Clock;
  readonly resolve: ResolveName;
  readonly logger: Logger;
  readonly passes: Pick<ProbePasses, 'masterPath'>;
};

/** Takes the reference that all probes of a stream in one round share. */
export class OriginReference {
  readonly #baseUrls: readonly URL[];
  readonly #deps: ReferenceDeps;
  #turn = 0;

  /** @param baseUrls of the origins, from our own settings; after a failure the next one is asked */
  constructor(baseUrls: readonly string[], deps: ReferenceDeps) {
    this.#baseUrls = baseUrls.map((text) => new URL(text.endsWith('/') ? text : `${text}/`));
    this.#deps = deps;
  }

  /**
   * Asks the origin for the stream's playlist; the reload for the next part and that part go on behind the promises of
   * the result, until `signal` aborts at the latest.
   *
   * @param round counts the rounds of this stream; chooses the rung
   * @throws {ProbeUnjudged} when the origin is gone or the stream has ended
   */
  async take(streamId: string, round: number, signal: AbortSignal): Promise<ReferenceRound> {
    const base = this.#baseUrls[this.#turn % Math.max(1, this.#baseUrls.length)];
    if (base === undefined) throw new ProbeUnjudged('reference_gone');
    const masterPath = await this.#deps.passes.masterPath(streamId);
    const master = new URL(masterPath, base);
    let connection: ProbeConnection | undefined;
    try {
      const pinned = await pinTrusted(master, this.#deps.resolve, signal);
      connection = new ProbeConnection(master, pinned, { clock: this.#deps.clock, signal });
      const rung = chooseRung(await text(connection, master.pathname), round, master);
      const playlist = readMediaPlaylist(await text(connection, rung.url.pathname + rung.url.search));
      if (playlist.ended) throw new ProbeUnjudged('stream_ended');
      return this.#follow(connection, { streamId, masterPath }, rung, playlist);
    } catch (error) {
      await connection?.close();
      if (error instanceof ProbeUnjudged) throw error;
      if (!isExpected(error)) throw error;
      this.#turn++;
      throw new ProbeUnjudged('reference_gone');
    }
  }

  #follow(
    connection: ProbeConnection,
    stream: Pick<ReferenceRound, 'streamId' | 'masterPath'>,
    rung: Rung,
    playlist: ReadMediaPlaylist,
  ): ReferenceRound {
    const next = nextPart(playlist);
    const reached = this.#reach(connection, rung.url, playlist, next);
    const part = reached.then((result) =>
      result?.part === undefined || result.part.gap
        ? undefined
        : this.#digest(connection, new URL(result.part.uri, rung.url)),
    );
    void part.then(() => connection.close());
    return {
      ...stream,
      renditionPath: rung.path,
      topBandwidthBps: rung.topBandwidthBps,
      lowestBandwidthBps: rung.lowestBandwidthBps,
      playlist,
      next,
      reached,
      part,
    };
  }

  async #reach(
    connection: ProbeConnection,
    url: URL,
    before: ReadMediaPlaylist,
    next: EdgePosition,
  ): Promise<ReferenceReached | undefined> {
    const held = holdLimitMs(before);
    try {
      const answer = await connection.get({
        path: reloadPath(url, next),
        firstByteDeadlineMs: held,
        bodyDeadlineMs: ORIGIN_DEADLINE_MS,
        bodyBytesMax: PLAYLIST_BYTES_MAX,
        as: 'text',
      });
      const playlist = readMediaPlaylist(answer.text);
      if (!hasReached(playlist, next)) return undefined;
      return { atMs: answer.firstByteAtMs, part: firstPartAfter(playlist, edgeOf(before)) };
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }

  /** Both promises of a round resolve whatever happens; only what should not happen is told. */
  #report(error: unknown): void {
    if (!isExpected(error)) this.#deps.logger.error({ err: error }, 'the reference of a probe round failed');
  }

  async #digest(connection: ProbeConnection, url: URL): Promise<PartDigest | undefined> {
    try {
      const answer = await connection.get({
        path: url.pathname + url.search,
        firstByteDeadlineMs: ORIGIN_DEADLINE_MS,
        bodyDeadlineMs: ORIGIN_DEADLINE_MS,
        bodyBytesMax: PART_BYTES_MAX,
        as: 'hash',
      });
      return { sha256: answer.sha256, bytes: answer.bodyBytes };
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }
}

/** Longest the next part may take before its origin counts as stale. */
export function holdLimitMs(playlist: ReadMediaPlaylist): number {
  return (
    (playlist.partTargetS === undefined ? playlist.targetDurationS * 1.5 : 3 * playlist.partTargetS) * 1_000 +
    1_000
  );
}

/** Path and query of a blocking reload; the directives come last and in order. @spec rfc8216bis §6.3.2 */
export function reloadPath(url: URL, next: EdgePosition): string {
  const joint = url.search === '' ? '?' : '&';
  return `${url.pathname}${url.search}${joint}_HLS_msn=${next.msn}&_HLS_part=${next.part}`;
}

/** The oldest listed part that lies after `position`. */
export function firstPartAfter(playlist: ReadMediaPlaylist, position: EdgePosition): ListedPart | undefined {
  return playlist.parts.find(
    ({ msn, part }) => msn > position.msn || (msn === position.msn && part > position.part),
  );
}

type Rung = {
  readonly url: URL;
  readonly path: string;
  readonly topBandwidthBps: number;
  readonly lowestBandwidthBps: number;
};

function chooseRung(master: string, round: number, masterUrl: URL): Rung {
  const variants = [...readVariants(master)].sort((a, b) => b.bandwidthBps - a.bandwidthBps);
  const others = variants.length - 1;
  const turn = Math.floor(round / OTHER_RUNG_EVERY);
  const index = round % OTHER_RUNG_EVERY === OTHER_RUNG_EVERY - 1 && others > 0 ? 1 + (turn % others) : 0;
  const variant = variants[index];
  const folder = new URL('.', masterUrl);
  const url = variant === undefined ? undefined : new URL(variant.uri, masterUrl);
  if (url === undefined || !url.href.startsWith(folder.href)) throw new ProbeFailure('rendition_missing');
  return {
    url,
    path: url.href.slice(folder.href.length),
    topBandwidthBps: variants[0]?.bandwidthBps ?? 0,
    lowestBandwidthBps: variants.at(-1)?.bandwidthBps ?? 0,
  };
}

async function text(connection: ProbeConnection, path: string): Promise<string> {
  const answer = await connection.get({
    path,
    firstByteDeadlineMs: ORIGIN_DEADLINE_MS,
    bodyDeadlineMs: ORIGIN_DEADLINE_MS,
    bodyBytesMax: PLAYLIST_BYTES_MAX,
    as: 'text',
  });
  return answer.text;
}

function isExpected(error: unknown): boolean {
  return (
    error instanceof ProbeFailure ||
    error instanceof ProbeUnjudged ||
    error instanceof PlaylistReadError ||
    error instanceof TargetRefusedError ||
    (error instanceof Error && error.name === 'AbortError')
  );
}
