import type { DeliveryDirectives } from '#protocol/hls/delivery-directives.ts';
import { partUri } from '#protocol/hls/media-uris.ts';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { blockingGoal, partGoal, type BlockingGoal } from '#origin/live/blocking-reload.ts';
import type { Client, Hold } from '#origin/live/held-requests.ts';
import type { LivePresentation } from '#origin/live/live-presentation.ts';
import type { LiveRendition } from '#origin/live/live-rendition.ts';
import type { LiveSegment, MediaKind, MediaObject } from '#origin/live/live-segment.ts';
import type { PlaylistSnapshot, RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';
import type { RetainedSegments } from '#origin/live/retained-segments.ts';
import type { StreamRecorder } from '#origin/live/stream-recorder.ts';

/** A playlist, and how long it stays true for the URL that was asked for. */
export type PlaylistAnswer = {
  readonly rendered: RenderedPlaylist;
  /**
   * `blocking`: what was asked for is in it, for ever. `plain`: the newest, no more. `interim`: asked again, the same
   * URL may be held. `ended`: the last version, until a new session takes the URL.
   */
  readonly freshness: 'blocking' | 'plain' | 'interim' | 'ended';
  readonly targetDurationS: number;
};

export type MediaAnswer = { readonly media: MediaObject; readonly kind: MediaKind };

/** How a stream is read, wherever it is held; {@link LivePlayback} says what the calls do and throw. */
export type Playback = {
  multivariant(client: Client): Promise<PlaylistAnswer>;
  playlist(renditionId: string, directives: DeliveryDirectives, client: Client): Promise<PlaylistAnswer>;
  segmentOrRecorded(renditionId: string, msn: number, client: Client): MediaAnswer | Promise<MediaAnswer>;
  part(renditionId: string, msn: number, part: number, client: Client): Promise<MediaAnswer>;
  init(renditionId: string, timeline: number, client: Client): Promise<MediaAnswer>;
};

/** What playback reads of a stream. */
export type PlaybackSource = {
  readonly presentation: LivePresentation | undefined;
  readonly retained: RetainedSegments;
  /** What has left memory; undefined when nothing is kept. */
  readonly recorded: RecordedSource | undefined;
};

/** What was kept of one stream. */
export type RecordedSource = {
  segment(...request: Tail<Parameters<StreamRecorder['segment']>>): ReturnType<StreamRecorder['segment']>;
  init(...request: Tail<Parameters<StreamRecorder['init']>>): ReturnType<StreamRecorder['init']>;
};
type Tail<List extends readonly unknown[]> = List extends [unknown, ...infer Rest] ? Rest : never;

/** @spec rfc8216bis §6.2.5.2: longest a request is held, in target durations */
const HOLD_TARGETS = 3;

/** The reading side of a stream: answers at once, or holds the request until it can. */
export class LivePlayback {
  readonly #source: PlaybackSource;
  readonly #clock: Clock;

  constructor(source: PlaybackSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /**
   * The multivariant playlist, as soon as every rendition has a segment.
   *
   * @throws {ProblemError} 404 `stream_offline`, 503
   */
  async multivariant(client: Client): Promise<PlaylistAnswer> {
    const presentation = await this.#playable(this.#hold(client));
    return {
      rendered: presentation.multivariant(),
      freshness: presentation.isEnded ? 'ended' : 'plain',
      targetDurationS: presentation.constants.targetDurationS,
    };
  }

  /**
   * A media playlist, or a delta update of it, as soon as it holds what the directives ask for.
   *
   * @throws {ProblemError} 400 too far ahead, 404, 503 after three target durations
   * @spec rfc8216bis §6.2.5
   */
  async playlist(
    renditionId: string,
    directives: DeliveryDirectives,
    client: Client,
  ): Promise<PlaylistAnswer> {
    const hold = this.#hold(client);
    const { block, form } = directives;
    const presentation = await this.#playable(hold);
    const rendition = presentation.renditions.get(renditionId);
    if (rendition === undefined) throw unknownRendition();
    let snapshot = await listable(rendition, hold);
    if (block !== undefined && snapshot.edge !== undefined) {
      const { partsPerSegment } = presentation.grid;
      const { partTargetMs } = presentation.constants;
      const goal = blockingGoal(snapshot.edge, block, { partsPerSegment, partTargetMs });
      if (!meets(snapshot, goal))
        snapshot = await rendition.waiters.wait(goal.key, (next) => meets(next, goal), hold);
    }
    return {
      rendered: snapshot.rendered(form),
      freshness: freshnessOf(snapshot, block),
      targetDurationS: snapshot.targetDurationS,
    };
  }

  /** A complete segment that is in memory. @throws {ProblemError} 404 `segment_not_found`, `segment_gap` */
  segment(renditionId: string, msn: number): MediaAnswer {
    const segment = this.#find(renditionId, msn);
    if (segment?.body !== undefined) return { media: segment.body, kind: segment.origin.kind };
    if (segment?.completedAtMs !== undefined && segment.isGap)
      throw this.#gone('segment_gap', `Segment ${msn} holds no media.`);
    throw this.#notFound(renditionId, 'segment_not_found', msn, `Segment ${msn} is not here.`);
  }

  /**
   * A complete segment: at once when it is in memory, else as soon as the recording has given it.
   *
   * @throws {ProblemError} as {@link segment}; 503 when the recording does not answer
   */
  segmentOrRecorded(renditionId: string, msn: number, client: Client): MediaAnswer | Promise<MediaAnswer> {
    const { recorded } = this.#source;
    const segment = this.#find(renditionId, msn);
    const isElsewhere =
      segment === undefined
        ? this.#hasPassed(renditionId, msn)
        : segment.body === undefined && !segment.isGap;
    if (recorded !== undefined && isElsewhere && segment !== this.#openOf(renditionId))
      return this.#recordedSegment(recorded, renditionId, msn, client);
    return this.segment(renditionId, msn);
  }

  /**
   * A part; the one that the playlist hints at is held until it is whole.
   *
   * @throws {ProblemError} 404 `part_not_found`, `part_gap`; 503
   * @spec rfc8216bis §6.2.6
   */
  async part(renditionId: string, msn: number, part: number, client: Client): Promise<MediaAnswer> {
    const rendition = this.#source.presentation?.renditions.get(renditionId);
    const found =
      this.#findPart(renditionId, msn, part) ?? (await this.#storedPart(renditionId, msn, part, client));
    if (found !== undefined) return found;
    if (rendition === undefined || !rendition.snapshot.hintedUris.includes(partUri(msn, part)))
      throw this.#notFound(renditionId, 'part_not_found', msn, `Part ${part} of segment ${msn} is not here.`);
    this.#assertFresh();
    const goal = partGoal({ msn, part });
    await rendition.waiters.wait(goal.key, (next) => meets(next, goal), this.#hold(client));
    const come = this.#findPart(renditionId, msn, part);
    if (come !== undefined) return come;
    throw this.#gone('part_not_found', `Part ${part} of segment ${msn} has not come about.`);
  }

  /**
   * An init segment; one that the playlist hints at is held until it is there.
   *
   * @throws {ProblemError} 404 `init_not_found`, 503
   */
  async init(renditionId: string, timeline: number, client: Client): Promise<MediaAnswer> {
    const rendition = this.#source.presentation?.renditions.get(renditionId);
    const find = (): MediaAnswer | undefined => {
      const media = rendition?.init(timeline) ?? this.#source.retained.findInit(renditionId, timeline);
      return media === undefined ? undefined : { media, kind: media.kind };
    };
    const awaited = (): boolean => rendition?.awaitsInit(timeline) === true;
    if (find() === undefined && rendition !== undefined && awaited() && !rendition.snapshot.isEnded) {
      this.#assertFresh();
      await rendition.waiters.wait(
        `init ${timeline}`,
        (next) => next.isEnded || !awaited(),
        this.#hold(client),
      );
    }
    const found = find() ?? (await this.#source.recorded?.init(renditionId, timeline, client));
    if (found !== undefined) return found;
    throw new ProblemError(404, 'init_not_found', `There is no init segment ${timeline}.`);
  }

  /** @throws {ProblemError} 404 `stream_stale` when what is not here yet will come about elsewhere */
  #assertFresh(): void {
    const staleness = this.#source.presentation?.staleness;
    if (staleness !== undefined) throw staleness;
  }

  #hold(client: Client): Hold {
    const targetDurationS = this.#source.presentation?.constants.targetDurationS ?? 1;
    return { deadlineMs: this.#clock.monotonicMs() + HOLD_TARGETS * targetDurationS * 1000, client };
  }

  /** The presentation, once it can be shown. One that ends without being shown may have been followed by another. */
  async #playable(hold: Hold): Promise<LivePresentation> {
    for (;;) {
      const { presentation } = this.#source;
      if (presentation === undefined) throw offline();
      if (presentation.staleness !== undefined) throw presentation.staleness;
      if (presentation.isPlayable) return presentation;
      if (presentation.isEnded) throw offline();
      await presentation.waiters.wait('playable', (next) => next.isPlayable || next.isEnded, hold);
    }
  }

  async #recordedSegment(
    recorded: RecordedSource,
    renditionId: string,
    msn: number,
    client: Client,
  ): Promise<MediaAnswer> {
    const found = await recorded.segment(renditionId, msn, client);
    if (found !== undefined) return found;
    throw this.#notFound(renditionId, 'segment_not_found', msn, `Segment ${msn} is not here.`);
  }

  /** A part that another process received: it lies in the recorded segment. */
  async #storedPart(
    renditionId: string,
    msn: number,
    index: number,
    client: Client,
  ): Promise<MediaAnswer | undefined> {
    const segment = this.#find(renditionId, msn);
    const stored = segment?.parts[index]?.stored;
    if (segment === undefined || stored === undefined) return undefined;
    const whole = await this.#source.recorded?.segment(renditionId, msn, client);
    if (whole === undefined) return undefined;
    const offset = segment.parts.slice(0, index).reduce((sum, part) => sum + (part.stored?.bytes ?? 0), 0);
    const bytes = whole.media.bytes.subarray(offset, offset + stored.bytes);
    return { media: { bytes, digest: stored.digest }, kind: whole.kind };
  }

  #openOf(renditionId: string): LiveSegment | null {
    return this.#source.presentation?.renditions.get(renditionId)?.window.open ?? null;
  }

  /** Whether a number lies before what the rendition will list next, as far as that is known. */
  #hasPassed(renditionId: string, msn: number): boolean {
    const rendition = this.#source.presentation?.renditions.get(renditionId);
    return rendition === undefined || msn < rendition.window.next.msn;
  }

  #find(renditionId: string, msn: number): LiveSegment | undefined {
    const rendition = this.#source.presentation?.renditions.get(renditionId);
    return (
      rendition?.window.find(msn) ?? this.#source.retained.find(renditionId, msn, this.#clock.monotonicMs())
    );
  }

  #findPart(renditionId: string, msn: number, index: number): MediaAnswer | undefined {
    const segment = this.#find(renditionId, msn);
    const part = segment?.parts[index];
    if (segment === undefined || part === undefined) return undefined;
    if (segment.partsUntilMs <= this.#clock.monotonicMs())
      throw this.#gone('part_not_found', `Part ${index} of segment ${msn} is no longer here.`);
    if (part.stored !== undefined) return undefined;
    if (part.media === undefined) throw this.#gone('part_gap', `Part ${index} of segment ${msn} is a gap.`);
    return { media: part.media, kind: segment.origin.kind };
  }

  /** What is not here may still come, unless its number has been passed. */
  #notFound(renditionId: string, code: string, msn: number, message: string): ProblemError {
    const rendition = this.#source.presentation?.renditions.get(renditionId);
    if (rendition !== undefined && msn < rendition.window.next.msn) return this.#gone(code, message);
    return new ProblemError(404, code, message);
  }

  /** 404 that will not change. @spec rfc8216bis §B.1: unsuccessful responses one Target Duration */
  #gone(code: string, message: string): ProblemError {
    const targetDurationS = this.#source.presentation?.constants.targetDurationS ?? 1;
    return new ProblemError(404, code, message, {
      headers: { 'cache-control': `public, max-age=${targetDurationS}` },
    });
  }
}

async function listable(rendition: LiveRendition, hold: Hold): Promise<PlaylistSnapshot> {
  const { snapshot } = rendition;
  if (snapshot.isListable) return snapshot;
  if (!snapshot.isEnded) {
    const next = await rendition.waiters.wait(
      'listable',
      (candidate) => candidate.isListable || candidate.isEnded,
      hold,
    );
    if (next.isListable) return next;
  }
  throw unknownRendition();
}

function meets(snapshot: PlaylistSnapshot, goal: BlockingGoal): boolean {
  return snapshot.isEnded || (snapshot.edge !== undefined && goal.isMet(snapshot.edge));
}

function freshnessOf(
  snapshot: PlaylistSnapshot,
  block: DeliveryDirectives['block'],
): PlaylistAnswer['freshness'] {
  if (snapshot.isEnded) return 'ended';
  if (block === undefined) return 'plain';
  const isInterim = block.part === undefined && (snapshot.edge?.lastSegmentMsn ?? 0) < block.msn;
  return isInterim ? 'interim' : 'blocking';
}

function unknownRendition(): ProblemError {
  return new ProblemError(404, 'rendition_not_found', 'The stream has no such rendition.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}

function offline(): ProblemError {
  return new ProblemError(404, 'stream_offline', 'Nobody publishes this stream now.', {
    headers: { 'cache-control': 'public, max-age=1' },
  });
}
