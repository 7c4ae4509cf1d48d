import { createHash } from 'node:crypto';
import {
  toUploadHeaders,
  UPLOAD_HEADERS,
  type HoldersNote,
  type PartUpload,
} from '#protocol/ingest/part-upload.ts';
import type { PublishGrant, TimelineGrant, TimelineRequest } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { TranscodeError } from '#transcoder/transcode-error.ts';
import type { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import type { CutInit, CutPart } from '#transcoder/cutter/cut-part.ts';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';
import { OriginUploader, type UploadLimits } from '#transcoder/publisher/origin-uploader.ts';
import { TimelineClient } from '#transcoder/publisher/timeline-client.ts';

/** Where parts go, and how much may wait. */
export type PublisherSettings = {
  /** `http://host:port` of the origins to ask for timelines; they say which of them get the parts. */
  readonly originUrls: readonly string[];
  readonly ingestToken: string;
  readonly upload: UploadLimits;
  /** Longest wait for a new timeline. */
  readonly timelineDeadlineMs: number;
};

/** How long the end of a timeline waits for an origin that fails once another one has every part. */
const LAGGARD_MS = 300;

/** A part that does not exist: its place is listed as a gap. */
export type GapPart = Omit<CutPart, 'bytes' | 'arrivalUtcMs' | 'independent'>;

type Deps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: TranscodeMetrics };

/**
 * Publishes one timeline at a time of one session to every origin that owns the stream. Publishing never waits: what an
 * origin is too slow for is shed by its own queue.
 */
export class PartPublisher {
  readonly #settings: PublisherSettings;
  readonly #grant: PublishGrant;
  readonly #deps: Deps;
  readonly #onFatal: (error: TranscodeError) => void;
  readonly #client: TimelineClient;
  /** By the URL of their origin. */
  readonly #uploaders = new Map<string, OriginUploader>();
  #renditionIds: readonly string[] = [];
  #holdersVersion = -1;
  #timeline: TimelineGrant | undefined;

  /** @param onFatal the origins take nothing more of this session */
  constructor(
    settings: PublisherSettings,
    grant: PublishGrant,
    deps: Deps,
    onFatal: (error: TranscodeError) => void,
  ) {
    this.#settings = settings;
    this.#grant = grant;
    this.#deps = deps;
    this.#onFatal = onFatal;
    this.#client = new TimelineClient(settings.originUrls, settings.ingestToken, grant, deps.clock);
  }

  /** Bytes that wait for all origins together. */
  get queuedBytes(): number {
    return [...this.#uploaders.values()].reduce((sum, uploader) => sum + uploader.queuedBytes, 0);
  }

  /**
   * Begins a timeline. The one before it must have been drained: an origin takes no more parts of it from now on.
   *
   * @throws {TranscodeError} when no origin gives one out
   */
  async beginTimeline(
    request: Omit<TimelineRequest, 'fencingToken'>,
    renditions: readonly PlannedRendition[],
    signal: AbortSignal,
  ): Promise<TimelineGrant> {
    await this.#closeUploaders();
    const grant = await this.#client.begin(request, this.#settings.timelineDeadlineMs, signal);
    this.#renditionIds = byPriority(renditions);
    this.#holdersVersion = -1;
    for (const originUrl of grant.origins ?? this.#settings.originUrls) this.#addUploader(originUrl);
    this.#timeline = grant;
    this.#deps.metrics.timelines.inc();
    return grant;
  }

  /** Publishes an init segment; must come before the first part of its rendition. */
  publishInit(init: CutInit): void {
    const timeline = this.#requireTimeline();
    this.#push({
      renditionId: init.renditionId,
      kind: 'init',
      path: `${this.#base(init.renditionId)}/init-${timeline.timeline}.mp4`,
      headers: {
        ...this.#headers({ startTicks: 0, durationTicks: 0, independent: true, last: false }),
        ...bodyHeaders(init.bytes, init.track.kind),
      },
      body: init.bytes,
      arrivalUtcMs: undefined,
    });
  }

  /** Publishes a part of the timeline that was begun last. */
  publishPart(part: CutPart, kind: 'video' | 'audio'): void {
    this.#push({
      renditionId: part.renditionId,
      kind: 'part',
      path: this.#partPath(part),
      headers: { ...this.#headers(part), ...bodyHeaders(part.bytes, kind) },
      body: part.bytes,
      arrivalUtcMs: part.arrivalUtcMs,
    });
  }

  /** Says that a part will never come. */
  publishGap(gap: GapPart): void {
    this.#push({
      renditionId: gap.renditionId,
      kind: 'part',
      path: this.#partPath(gap),
      headers: this.#headers({ ...gap, independent: false, gap: true }),
      body: undefined,
      arrivalUtcMs: undefined,
    });
  }

  /** Resolves when everything has been stored or given up, or after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    const uploaders = [...this.#uploaders.values()];
    const drains = new Map(uploaders.map((uploader) => [uploader, uploader.drain(deadlineMs)]));
    if (drains.size < 2) return void (await Promise.all(drains.values()));
    // Nobody waits for an origin that has died when another one has everything.
    const withoutDead = Promise.race(drains.values())
      .then(() => pause(this.#deps.clock, Math.min(LAGGARD_MS, deadlineMs)))
      .then(() => Promise.all([...drains].flatMap(([one, drained]) => (one.isFailing ? [] : [drained]))));
    await Promise.race([Promise.all(drains.values()), withoutDead]);
  }

  /** Tells the origins that the session cannot go on. */
  async giveUp(signal: AbortSignal): Promise<void> {
    await this.#client.giveUp(signal);
  }

  /** Drops what is left and closes all connections. */
  async close(): Promise<void> {
    await this.#closeUploaders();
  }

  async #closeUploaders(): Promise<void> {
    const closing = [...this.#uploaders.values()];
    this.#uploaders.clear();
    await Promise.all(closing.map((uploader) => uploader.close()));
  }

  #addUploader(originUrl: string): void {
    const uploader: OriginUploader = new OriginUploader(
      {
        originUrl,
        ingestToken: this.#settings.ingestToken,
        renditionIds: this.#renditionIds,
        limits: this.#settings.upload,
        onFatal: (error) => this.#dropUploader(originUrl, uploader, error),
        onHolders: (note) => this.#followHolders(note),
      },
      this.#deps,
    );
    this.#uploaders.set(originUrl, uploader);
  }

  /** One origin takes nothing more: fatal only when no other one does. */
  #dropUploader(originUrl: string, uploader: OriginUploader, error: TranscodeError): void {
    if (this.#uploaders.get(originUrl) !== uploader) return;
    if (this.#uploaders.size === 1) return this.#onFatal(error);
    this.#uploaders.delete(originUrl);
    this.#deps.logger.warn({ originUrl, code: error.code }, 'an origin takes no more parts, the others do');
    this.#deps.metrics.originsLost.inc();
    void uploader.close();
  }

  /** The origins have chosen others to hold the stream: those get every part from now on. */
  #followHolders({ version, origins }: HoldersNote): void {
    if (version <= this.#holdersVersion) return;
    this.#holdersVersion = version;
    for (const originUrl of origins) if (!this.#uploaders.has(originUrl)) this.#addUploader(originUrl);
    for (const [originUrl, uploader] of this.#uploaders) {
      if (origins.includes(originUrl)) continue;
      this.#uploaders.delete(originUrl);
      void uploader.close();
    }
    this.#deps.logger.info({ version, origins }, 'the origins of the stream');
  }

  #push(item: Parameters<OriginUploader['push']>[0]): void {
    for (const uploader of this.#uploaders.values()) uploader.push(item);
  }

  #base(renditionId: string): string {
    return `/ingest/v1/${this.#grant.streamId}/${renditionId}`;
  }

  #partPath(part: { renditionId: string; segment: number; part: number }): string {
    const msn = this.#requireTimeline().firstMsn + part.segment;
    return `${this.#base(part.renditionId)}/${msn}.${part.part}.m4s`;
  }

  #headers(
    part: Pick<PartUpload, 'startTicks' | 'durationTicks' | 'independent' | 'last'> &
      Partial<Pick<PartUpload, 'gap' | 'arrivalUtcMs'>>,
  ): Record<string, string> {
    return toUploadHeaders({
      sessionId: this.#grant.sessionId,
      fencingToken: this.#grant.fencingToken,
      timeline: this.#requireTimeline().timeline,
      startTicks: part.startTicks,
      durationTicks: part.durationTicks,
      independent: part.independent,
      last: part.last,
      gap: part.gap ?? false,
      arrivalUtcMs: Math.round(part.arrivalUtcMs ?? this.#deps.clock.nowMs()),
    });
  }

  #requireTimeline(): TimelineGrant {
    if (this.#timeline === undefined) throw new Error('nothing can be published before a timeline has begun');
    return this.#timeline;
  }
}

/**
 * The order in which parts are given up: video from the cheapest rendition to the dearest, audio last, because it is
 * small and the only thing that cannot be replaced by another rendition.
 */
export function byPriority(renditions: readonly PlannedRendition[]): string[] {
  const weight = (one: PlannedRendition): number => (one.kind === 'audio' ? Infinity : one.bitrateBps);
  return [...renditions].sort((a, b) => weight(a) - weight(b)).map((one) => one.id);
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve));
}

function bodyHeaders(bytes: Uint8Array, kind: 'video' | 'audio'): Record<string, string> {
  return {
    'content-type': `${kind}/mp4`,
    [UPLOAD_HEADERS.digest]: `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`,
  };
}
