import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { IncomingPublish, IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { toTranscodeError, type TranscodeError } from '#transcoder/transcode-error.ts';
import type { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import { planLadder, type LadderDefaults, type NamedRung } from '#transcoder/ladder/ladder-plan.ts';
import { SourceProber } from '#transcoder/ladder/source-profile.ts';
import { PartPublisher, type PublisherSettings } from '#transcoder/publisher/part-publisher.ts';
import { PendingPackets } from '#transcoder/worker/pending-packets.ts';
import { RestartPolicy } from '#transcoder/worker/restart-policy.ts';
import { TimelineRun, type TimelineLimits } from '#transcoder/worker/timeline-run.ts';

/** How broadcasts are transcoded. */
export type SessionSettings = {
  readonly ladder: LadderDefaults;
  readonly limits: TimelineLimits & {
    /** Packets kept while no timeline can begin. */
    readonly pendingBytesMax: number;
    /** Timelines that may fail within a minute before the broadcast is given up. */
    readonly failuresPerMinuteMax: number;
  };
  readonly publisher: PublisherSettings;
};
type Deps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: TranscodeMetrics };

/** Longest that telling the origin about a session that failed may take. */
const GIVE_UP_DEADLINE_MS = 3_000;

/**
 * One broadcast from its first packet to its last: a row of timelines. A break of the timestamps, a failed encoder or a
 * track that comes or goes ends a timeline; the next one begins with the next key frame.
 */
export class TranscodeSession {
  readonly #publish: IncomingPublish;
  readonly #settings: SessionSettings;
  readonly #deps: Deps;
  readonly #publisher: PartPublisher;
  readonly #abort = new AbortController();
  readonly #prober = new SourceProber();
  readonly #pending: PendingPackets;
  readonly #policy: RestartPolicy;
  #run: TimelineRun | undefined;
  /** Of all timelines so far, those of the broadcast that goes on with this session included. */
  #rungs: readonly NamedRung[];
  #backoff: Timer | undefined;
  #fatal: TranscodeError | undefined;
  /** Packets that come now are for a timeline that has not begun. */
  #isBetween = true;

  constructor(publish: IncomingPublish, settings: SessionSettings, deps: Deps) {
    const { streamId, sessionId } = publish.grant;
    this.#publish = publish;
    this.#settings = settings;
    this.#deps = { ...deps, logger: deps.logger.child({ streamId, sessionId }) };
    this.#rungs = (publish.grant.renditionsToKeep ?? []).map((rung) => ({ ...rung, isDefault: false }));
    this.#pending = new PendingPackets(settings.limits.pendingBytesMax, (count) =>
      deps.metrics.pendingDiscarded.inc(count),
    );
    this.#policy = new RestartPolicy(settings.limits.failuresPerMinuteMax);
    this.#publisher = new PartPublisher(settings.publisher, publish.grant, this.#deps, (error) => {
      if (this.#run === undefined) this.#giveUp(error);
      else this.#run.fail(error);
    });
  }

  /** The running timeline's encoder, for tests and measurements. */
  get encoderPid(): number | undefined {
    return this.#run?.encoderPid;
  }

  /** Transcodes until the broadcaster has gone, the session is over or {@link TranscodeSession.stop}. Never rejects. */
  async run(): Promise<void> {
    let broadcasterGone = false;
    void this.#publish.ended.then(() => {
      broadcasterGone = true;
    });
    for (;;) {
      const error = await this.#read();
      if (error === undefined || broadcasterGone || this.#abort.signal.aborted) break;
      // A reading that broke off is begun again with the last key frame that the ingest has.
      this.#run?.finish();
      await pauseUnlessAborted(this.#deps.clock, this.#afterFailure(error), this.#abort.signal);
      if (this.#abort.signal.aborted) break;
    }
    this.#backoff?.cancel();
    this.#run?.finish();
    await this.#run?.ended;
    if (this.#fatal !== undefined) await this.#tellOrigin(this.#fatal);
    await this.#publisher.close();
    this.#deps.logger.info({ code: this.#fatal?.code }, 'broadcast ended');
  }

  /** Ends the session as if the broadcaster had gone. */
  stop(): void {
    this.#abort.abort();
  }

  /** Reads packets until there are no more; gives the reason when there should have been. */
  async #read(): Promise<TranscodeError | undefined> {
    try {
      for await (const packet of this.#publish.packets(this.#abort.signal)) {
        this.#take(packet);
        if (this.#abort.signal.aborted) break;
      }
      return undefined;
    } catch (error) {
      return toTranscodeError(error, 'input_lost');
    }
  }

  #take(packet: IngestPacket): void {
    this.#safely(() => {
      this.#prober.push(packet);
      if (packet.kind === 'break') this.#run?.finish();
      else if (packet.kind !== 'metadata') this.#takeMedia(packet);
    });
  }

  #takeMedia(packet: IngestPacket & { kind: 'video' | 'audio' }): void {
    if (this.#run !== undefined && !this.#run.stopped) return this.#run.write(packet);
    if (this.#run !== undefined && !this.#isBetween) this.#beginProbing(packet);
    // A timeline that cannot begin yet begins as late as possible: what waits would all have to be caught up with.
    else if (this.#mustWait && packet.kind === 'video' && packet.keyframe) this.#beginProbing(packet);
    this.#isBetween = true;
    this.#pending.push(packet);
    this.#tryBegin();
  }

  get #mustWait(): boolean {
    return this.#run !== undefined || this.#backoff !== undefined;
  }

  #beginProbing(packet: IngestPacket): void {
    this.#pending.clear();
    this.#prober.restart();
    this.#prober.push(packet);
  }

  #tryBegin(): void {
    if (this.#mustWait || this.#abort.signal.aborted) return;
    const source = this.#prober.profile();
    if (source === undefined) return;
    const { grant } = this.#publish;
    const plan = planLadder({
      source,
      segmentDurationMs: grant.segmentDurationMs,
      partDurationMs: grant.partDurationMs,
      ladder: grant.ladder,
      defaults: this.#settings.ladder,
      economy: this.#policy.economy,
      copyAllowed: this.#policy.copyAllowed,
      keep: this.#rungs,
    });
    this.#rungs = plan.rungs;
    const run = new TimelineRun(
      {
        plan,
        source,
        sequenceHeaders: this.#prober.sequenceHeaders,
        publisher: this.#publisher,
        limits: this.#settings.limits,
      },
      this.#deps,
    );
    this.#run = run;
    this.#isBetween = false;
    for (const packet of this.#pending.drain()) run.write(packet);
    void run.ended.then(({ error }) => this.#timelineEnded(error));
  }

  #timelineEnded(error: TranscodeError | undefined): void {
    this.#run = undefined;
    if (error !== undefined) this.#afterFailure(error);
    // The group of pictures that the old timeline has begun is of no use to the next one.
    if (!this.#isBetween) this.#prober.restart();
    this.#isBetween = true;
    this.#safely(() => this.#tryBegin());
  }

  /** Gives for how many ms nothing new begins. */
  #afterFailure(error: TranscodeError): number {
    this.#deps.logger.warn({ code: error.code, detail: error.message }, 'a timeline failed');
    const decision = this.#policy.decide(error.code, this.#deps.clock.monotonicMs());
    if (decision === 'end') {
      this.#giveUp(error);
      return 0;
    }
    this.#deps.metrics.failures.inc({ code: error.code });
    this.#backoff?.cancel();
    this.#backoff = undefined;
    if (decision.pauseMs === 0) return 0;
    this.#backoff = this.#deps.clock.after(decision.pauseMs, () => {
      this.#backoff = undefined;
      this.#safely(() => this.#tryBegin());
    });
    return decision.pauseMs;
  }

  #safely(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#giveUp(toTranscodeError(error, 'source_unsupported'));
    }
  }

  #giveUp(error: TranscodeError): void {
    if (this.#fatal !== undefined) return;
    this.#fatal = error;
    this.#deps.metrics.failures.inc({ code: error.code });
    this.#deps.logger.error({ code: error.code, detail: error.message }, 'a broadcast is given up');
    this.#abort.abort();
  }

  /** So that the broadcaster is sent away; a session that is over needs no telling. */
  async #tellOrigin(error: TranscodeError): Promise<void> {
    if (error.code === 'session_over') return;
    const abort = new AbortController();
    const timer = this.#deps.clock.after(GIVE_UP_DEADLINE_MS, () => abort.abort());
    await this.#publisher.giveUp(abort.signal);
    timer.cancel();
  }
}

function pauseUnlessAborted(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (delayMs === 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = clock.after(delayMs, resolve);
    const abort = (): void => {
      timer.cancel();
      resolve();
    };
    signal.addEventListener('abort', abort, { once: true });
  });
}
