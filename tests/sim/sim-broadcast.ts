import { toUploadHeaders } from '#protocol/ingest/part-upload.ts';
import type { TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { makeInit, makePart, makePresentation, partTicks } from '#origin/live/testing/synthetic-media.ts';
import { audioRendition, videoRendition } from '#origin/live/testing/synthetic-media.ts';
import type { TimelineInput } from '#origin/live/live-streams.ts';
import { STREAM_ID, type SimOrigin } from '#tests/sim/sim-origin.ts';
import { SimUploader, type SimLink } from '#tests/sim/sim-uploader.ts';
import type { SimWorld } from '#tests/sim/sim-world.ts';

const PRESENTATION = makePresentation({
  renditions: [videoRendition('720p', 3_000_000), audioRendition()],
});
export const RENDITION_IDS: readonly string[] = PRESENTATION.renditions.map(({ id }) => id);
export const TARGET_DURATION_MS = PRESENTATION.targetDurationS * 1000;
const { segmentDuration, partsPerSegment } = PRESENTATION;
const CELL_MS = (segmentDuration.ticks * 1000) / segmentDuration.timescale / partsPerSegment;
/** Cells that an encoder is behind the broadcaster, ms. */
const ENCODER_MS = { least: 20, most: 90 };
/** After so long without heartbeats the origins end the session. */
const HEARTBEAT_EXPIRY_MS = 3_000;
const RECONNECT_WINDOW_MS = 12_000;
const SAMPLE_BYTES = 96;

/** How often origins write down how far they have come; as `origin/sessions/session-upkeep.ts`. */
const RECORD_INTERVAL_MS = 10_000;

/** The database: what a restarted origin knows. */
export class SimRegistry {
  fencingToken = 0;
  lastMsn = 0;

  constructor(world: SimWorld, origins: readonly SimOrigin[]) {
    const record = (): void => {
      for (const { port } of origins) this.lastMsn = Math.max(this.lastMsn, port?.lastMsn ?? 0);
      world.after(RECORD_INTERVAL_MS, record);
    };
    record();
  }
}

/** A broadcaster's publish session, encoded by one pipeline or by a warm pair. */
export class SimSession {
  readonly fencingToken: number;
  readonly #world: SimWorld;
  readonly #origins: readonly SimOrigin[];
  readonly #registry: SimRegistry;
  readonly #sessionId: string;
  readonly #pipelines: readonly SimPipeline[];
  #isEnded = false;
  #isBeginning = false;
  #beganMs = 0;
  #grant: TimelineGrant | undefined;

  /** @param links the way from each pipeline to each origin */
  constructor(
    world: SimWorld,
    origins: readonly SimOrigin[],
    registry: SimRegistry,
    links: readonly ReadonlyMap<SimOrigin, SimLink>[],
  ) {
    this.#world = world;
    this.#origins = origins;
    this.#registry = registry;
    registry.fencingToken += 1;
    this.fencingToken = registry.fencingToken;
    this.#sessionId = `00000000-0000-4000-8000-${String(this.fencingToken).padStart(12, '0')}`;
    this.#pipelines = links.map(
      (ways, index) => new SimPipeline(world, this, links.length === 1 ? undefined : `p${index}`, ways),
    );
    world.note(`session ${this.fencingToken} with ${links.length} pipeline(s)`);
    this.#beginLater(world.between(10, 200));
  }

  get isOver(): boolean {
    return this.#isEnded;
  }

  get pipelines(): readonly SimPipeline[] {
    return this.#pipelines;
  }

  get writer(): { readonly sessionId: string; readonly fencingToken: number } {
    return { sessionId: this.#sessionId, fencingToken: this.fencingToken };
  }

  /** The broadcaster goes; the origins are told, or find out by themselves. */
  end(reason: 'unpublished' | 'lost'): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#world.note(`session ${this.fencingToken}: ${reason}`);
    for (const pipeline of this.#pipelines) pipeline.stop();
    this.#world.after(reason === 'lost' ? HEARTBEAT_EXPIRY_MS : 30, () => {
      for (const { port } of this.#origins) {
        this.#registry.lastMsn = Math.max(this.#registry.lastMsn, port?.lastMsn ?? 0);
        port?.sessionEnded(this.#sessionId, reason);
      }
    });
  }

  /** An origin has said that nothing more of the session, or of its timeline, is taken. */
  onFatal(code: string): void {
    if (this.#isEnded || this.#isBeginning) return;
    this.#world.note(`session ${this.fencingToken}: ${code}`);
    for (const pipeline of this.#pipelines) pipeline.leaveTimeline();
    if (code === 'timeline_lost') this.#beginLater(this.#world.between(30, 300));
    else this.#isEnded = true;
  }

  #beginLater(delayMs: number): void {
    this.#isBeginning = true;
    this.#world.after(delayMs, () => {
      this.#isBeginning = false;
      if (!this.#isEnded) this.#begin();
    });
  }

  /** As several origins agree on a timeline: one decides, the others take it over or are left out. */
  #begin(): void {
    const alive = this.#origins.filter(({ port }) => port !== undefined);
    const ranked = alive.toSorted((a, b) => Number(b.isHolder) - Number(a.isHolder));
    const numbers = ranked.map(({ port }) => port?.lastMsn ?? 0);
    const input: TimelineInput = {
      streamId: STREAM_ID,
      ...this.writer,
      anchorUtcMs: this.#world.clock.nowMs(),
      presentation: PRESENTATION,
      lastMsnFloor: Math.max(this.#registry.lastMsn, ...numbers),
      reconnectWindowMs: RECONNECT_WINDOW_MS,
      liveWindowMs: 20_000,
    };
    const [leader, ...others] = ranked;
    if (leader?.port === undefined) return this.#beginLater(300);
    try {
      this.#grant = leader.port.beginTimeline(input);
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this.#world.note(`session ${this.fencingToken} gets no timeline: ${error.code}`);
      this.#isEnded = true;
      return;
    }
    const assigned = leader.port.decision;
    if (assigned === undefined) throw new TypeError('a timeline that was begun is decided');
    const holders = [leader];
    for (const other of others)
      try {
        other.port?.beginTimeline({ ...input, assigned });
        holders.push(other);
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error;
        this.#world.note(`${other.name} does not follow: ${error.code}`);
      }
    for (const origin of this.#origins) {
      origin.isHolder = holders.includes(origin);
      if (origin.isHolder) origin.tokenSeen = Math.max(origin.tokenSeen, this.fencingToken);
    }
    this.#beganMs = this.#world.nowMs;
    this.#registry.lastMsn = Math.max(this.#registry.lastMsn, this.#grant.firstMsn);
    this.#world.note(
      `timeline ${this.#grant.firstMsn}${assigned.isContinued ? ' goes on' : ''} at ${holders.map(({ name }) => name).join(' ')}`,
    );
    for (const pipeline of this.#pipelines) pipeline.join(this.#grant, this.#beganMs, holders);
  }
}

/** One encoder of a session. Its bytes are its own, its grid is that of the session. */
export class SimPipeline {
  readonly #world: SimWorld;
  readonly #session: SimSession;
  readonly #id: string | undefined;
  readonly #links: ReadonlyMap<SimOrigin, SimLink>;
  #uploaders: readonly SimUploader[] = [];
  #grant: TimelineGrant | undefined;
  /** The origins that the grant names. */
  #holders: readonly SimOrigin[] = [];
  #beganMs = 0;
  #run = 0;
  #isPaused = false;
  #isDead = false;
  /** What a paused process does when it wakes up. */
  #missed: (() => void)[] = [];

  constructor(
    world: SimWorld,
    session: SimSession,
    id: string | undefined,
    links: ReadonlyMap<SimOrigin, SimLink>,
  ) {
    this.#world = world;
    this.#session = session;
    this.#id = id;
    this.#links = links;
  }

  /** Writes a timeline from now on. */
  join(grant: TimelineGrant, beganMs: number, holders: readonly SimOrigin[]): void {
    this.#grant = grant;
    this.#beganMs = beganMs;
    this.#holders = holders;
    if (!this.#isDead) this.#encodeFrom(0);
  }

  leaveTimeline(): void {
    this.#run += 1;
    this.#missed = [];
    for (const uploader of this.#uploaders) uploader.stop();
    this.#uploaders = [];
  }

  stop(): void {
    this.leaveTimeline();
    this.#isDead = true;
  }

  /** The process dies; a new one joins at a segment boundary. */
  restart(afterMs: number): void {
    if (this.#isDead) return;
    this.#world.note(`pipeline ${this.#id ?? 'only'} of session ${this.#session.fencingToken} dies`);
    this.stop();
    this.#world.after(afterMs, () => {
      if (this.#session.isOver) return;
      this.#isDead = false;
      if (this.#grant === undefined) return;
      const cell = Math.ceil((this.#world.nowMs - this.#beganMs) / CELL_MS);
      this.#encodeFrom(Math.ceil(cell / partsPerSegment) * partsPerSegment);
    });
  }

  /** SIGSTOP and SIGCONT: what fell due meanwhile happens at once. */
  pause(forMs: number): void {
    this.#world.note(`pipeline ${this.#id ?? 'only'} of session ${this.#session.fencingToken} hangs`);
    this.#isPaused = true;
    this.#world.after(forMs, () => {
      this.#isPaused = false;
      const missed = this.#missed;
      this.#missed = [];
      for (const happening of missed) happening();
    });
  }

  #encodeFrom(cell: number): void {
    this.leaveTimeline();
    const run = this.#run;
    this.#uploaders = this.#holders.flatMap((origin) => {
      const link = this.#links.get(origin);
      if (link === undefined) return [];
      const onFatal = (code: string): void => this.#session.onFatal(code);
      return [new SimUploader(this.#world, origin, link, RENDITION_IDS, onFatal)];
    });
    for (const id of RENDITION_IDS) this.#pushInit(id);
    this.#encode(cell, run);
  }

  #encode(cell: number, run: number): void {
    const doneMs =
      this.#beganMs + (cell + 1) * CELL_MS + this.#world.between(ENCODER_MS.least, ENCODER_MS.most);
    this.#world.after(Math.max(1, doneMs - this.#world.nowMs), () => {
      const go = (): void => {
        if (run !== this.#run) return;
        for (const id of RENDITION_IDS) this.#pushPart(id, cell);
        this.#encode(cell + 1, run);
      };
      if (this.#isPaused) this.#missed.push(go);
      else go();
    });
  }

  #pushInit(renditionId: string): void {
    const { timeline } = this.#requireGrant();
    const headers = this.#headers({ startTicks: 0, durationTicks: 0, independent: true, last: false });
    const body = makeInit(renditionOf(renditionId), timeline);
    this.#push(renditionId, 'init', `init-${timeline}.mp4`, headers, body);
  }

  #pushPart(renditionId: string, cell: number): void {
    const rendition = renditionOf(renditionId);
    const msn = this.#requireGrant().firstMsn + Math.floor(cell / partsPerSegment);
    const part = cell % partsPerSegment;
    const media = {
      ...partTicks(PRESENTATION, rendition, cell),
      independent: rendition.kind === 'audio' || part === 0,
    };
    const label = `${this.#session.fencingToken}/${this.#id ?? 'only'} ${renditionId} ${msn}.${part}`;
    const body = makePart({ ...media, label, mediaBytes: SAMPLE_BYTES });
    const headers = this.#headers({ ...media, last: part === partsPerSegment - 1 });
    this.#push(renditionId, 'part', `${msn}.${part}.m4s`, headers, body);
  }

  #push(
    renditionId: string,
    kind: 'init' | 'part',
    name: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
  ): void {
    const item = {
      renditionId,
      kind,
      path: `${renditionId}/${name}`,
      headers,
      body,
      arrivalUtcMs: undefined,
    };
    for (const uploader of this.#uploaders) uploader.push(item);
  }

  #headers(part: { startTicks: number; durationTicks: number; independent: boolean; last: boolean }) {
    return toUploadHeaders({
      ...this.#session.writer,
      ...part,
      timeline: this.#requireGrant().timeline,
      ...(this.#id === undefined ? {} : { pipeline: this.#id }),
      gap: false,
      arrivalUtcMs: Math.round(this.#world.clock.nowMs()),
    });
  }

  #requireGrant(): TimelineGrant {
    if (this.#grant === undefined) throw new TypeError('there is no timeline yet');
    return this.#grant;
  }
}

function renditionOf(id: string): (typeof PRESENTATION.renditions)[number] {
  const rendition = PRESENTATION.renditions.find((each) => each.id === id);
  if (rendition === undefined) throw new RangeError(`no rendition ${id}`);
  return rendition;
}
