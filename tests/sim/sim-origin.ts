import { fromUploadHeaders } from '#protocol/ingest/part-upload.ts';
import type { TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { parseMediaFile } from '#protocol/hls/media-uris.ts';
import type { DeliveryDirectives } from '#protocol/hls/delivery-directives.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { createLogger } from '#runtime/log.ts';
import { Registry } from 'prom-client';
import type { MediaAnswer, PlaylistAnswer } from '#origin/live/live-playback.ts';
import { DEFAULT_LIVE_SETTINGS } from '#origin/live/live-settings.ts';
import {
  LiveStreams,
  type SessionEndReason,
  type LiveStream,
  type TimelineDecision,
  type TimelineInput,
} from '#origin/live/live-streams.ts';
import type { SimWorld } from '#tests/sim/sim-world.ts';

export const STREAM_ID = 'show';
const NEVER = { signal: new AbortController().signal };

/** What an upload is answered. */
export type PutAnswer = { readonly status: number; readonly code: string };

/** Everything that the others may ask of an origin; a test puts a broken one in its place. */
export class OriginPort {
  readonly streams: LiveStreams;

  constructor(streams: LiveStreams) {
    this.streams = streams;
  }

  get stream(): LiveStream | undefined {
    return this.streams.get(STREAM_ID);
  }

  beginTimeline(input: TimelineInput): TimelineGrant {
    return this.streams.beginTimeline(input);
  }

  /** As `origin/http/upload-routes.ts` does. */
  put(path: string, headers: Readonly<Record<string, string>>, body: Uint8Array<ArrayBuffer>): PutAnswer {
    const [renditionId = '', name = ''] = path.split('/');
    const file = parseMediaFile(name);
    try {
      const { stream } = this;
      if (stream === undefined) return { status: 404, code: 'session_not_found' };
      const upload = fromUploadHeaders((header) => headers[header]);
      if (file?.kind === 'init') return { status: 201, code: stream.storeInit(renditionId, upload, body) };
      if (file?.kind !== 'part') throw new TypeError(`${name} is no upload`);
      const placed = { ...upload, msn: file.msn, part: file.part };
      stream.assertAcceptable(renditionId, placed);
      return { status: 201, code: stream.storePart(renditionId, placed, body) };
    } catch (error) {
      if (error instanceof ProblemError) return { status: error.status, code: error.code };
      throw error;
    }
  }

  playlist(renditionId: string, directives: DeliveryDirectives): Promise<PlaylistAnswer> {
    const { stream } = this;
    if (stream === undefined) return Promise.reject(new ProblemError(404, 'stream_offline', ''));
    return stream.playback.playlist(renditionId, directives, NEVER);
  }

  async media(renditionId: string, name: string): Promise<MediaAnswer> {
    const file = parseMediaFile(name);
    const playback = this.stream?.playback;
    if (playback === undefined) throw new ProblemError(404, 'stream_offline', '');
    if (file?.kind === 'segment') return playback.segment(renditionId, file.msn);
    if (file?.kind === 'part') return await playback.part(renditionId, file.msn, file.part, NEVER);
    if (file?.kind === 'init') return await playback.init(renditionId, file.timeline, NEVER);
    throw new TypeError(`${name} is no medium`);
  }

  sessionEnded(sessionId: string, reason: SessionEndReason): void {
    this.streams.sessionEnded(STREAM_ID, sessionId, reason);
  }

  get lastMsn(): number {
    return this.streams.status(STREAM_ID)?.lastMsn ?? 0;
  }

  get decision(): TimelineDecision | undefined {
    return this.stream?.timelineDecision;
  }
}

/** Puts a broken origin in the place of the right one, to show that the simulation sees it. */
export type Sabotage = (port: OriginPort, world: SimWorld) => OriginPort;

/** One origin machine: its process can be killed, and comes back with nothing in memory. */
export class SimOrigin {
  readonly name: string;
  readonly #world: SimWorld;
  readonly #sabotage: Sabotage;
  readonly #isLastOrigin: () => boolean;
  #port: OriginPort | undefined;
  /** Counts the processes. */
  life = 0;
  /** Highest fencing token of a session that has begun a timeline in this life. */
  tokenSeen = 0;
  /** Whether the newest timeline is written here, so that requests need not be relayed. */
  isHolder = false;

  constructor(name: string, world: SimWorld, sabotage: Sabotage, isLastOrigin: () => boolean) {
    this.name = name;
    this.#world = world;
    this.#sabotage = sabotage;
    this.#isLastOrigin = isLastOrigin;
    this.start();
  }

  get port(): OriginPort | undefined {
    return this.#port;
  }

  start(): void {
    if (this.#port !== undefined) return;
    const streams = new LiveStreams(
      // All waiters in one slice: slices take turns of the real event loop.
      { ...DEFAULT_LIVE_SETTINGS, releaseSliceSize: 100_000 },
      {
        clock: this.#world.clock,
        logger: createLogger('sim', 'silent'),
        metrics: new Registry(),
        isLastOrigin: () => this.#isLastOrigin(),
      },
    );
    this.life += 1;
    this.tokenSeen = 0;
    this.#port = this.#sabotage(new OriginPort(streams), this.#world);
    this.#world.note(`${this.name} starts`);
  }

  kill(): void {
    if (this.#port === undefined) return;
    this.#world.note(`${this.name} is killed`);
    void this.#port.streams.close();
    this.#port = undefined;
    this.isHolder = false;
  }
}
