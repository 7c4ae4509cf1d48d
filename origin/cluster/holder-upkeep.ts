import { Counter } from 'prom-client';
import { z } from 'zod';
import { NodeUrl, StreamHolders } from '#origin/cluster/node-state.ts';
import { decodeStreamImage } from '#origin/cluster/stream-image.ts';
import { HOLDERS_PER_STREAM } from '#origin/cluster/stream-timelines.ts';
import type { HeldStreams } from '#origin/cluster/held-streams.ts';
import type { Membership } from '#origin/cluster/membership.ts';
import type { PeerClient } from '#origin/cluster/peer-client.ts';
import type { LiveStream, LiveStreams } from '#origin/live/live-streams.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';

/** `POST /internal/v1/streams/{id}/adopt`: hold a stream from now on, beginning with the window of `from`. */
export const AdoptOrder = z.object({
  holders: StreamHolders,
  from: NodeUrl,
  /** Parts are coming: without one the transcoder does not reach this origin, and it would hold nothing but gaps. */
  isPublishing: z.boolean(),
});
export type AdoptOrder = z.infer<typeof AdoptOrder>;

export type HolderUpkeepDeps = {
  readonly ownUrl: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly live: LiveStreams;
  readonly peers: PeerClient;
  readonly membership: Membership;
  readonly held: HeldStreams;
  /** As {@link StreamTimelines.choose}. */
  readonly choose: (streamId: string) => readonly string[];
  /** Called when what this origin holds has changed. */
  readonly onChange: () => void;
};

export const HOLDERS_CHECK_MS = 500;
/** How long a holder that was just named has for the stream's media to be there. */
export const ADOPTION_GRACE_MS = 8_000;
/**
 * How long a new holder waits for the first part that is meant for it. The window is fetched after that, so that nothing
 * lies between the two.
 */
const FIRST_PART_WAIT_MS = 3_000;
/**
 * A holder that parts have not reached for so long, while they reach another, lets go of the stream: with the next part it
 * would list gaps where the other has media. It asks the other one then, and is given the stream anew when parts come.
 */
export const CUT_OFF_MS = 2_500;
/** Parts that were under way to the other holder when the first one was sent here. */
const SETTLE_MS = 250;
/** After a start, until all others have been heard of: a stream that was restored may be held by them. */
const CLAIM_AFTER_MS = 3_000;
const ADOPT_TIMEOUT_MS = 1_000;
const IMAGE_TIMEOUT_MS = 5_000;
/** Streams that may be taken over at a time; the others wait for a later turn. */
export const ADOPTIONS_MAX = 16;

type Adoption = { readonly order: AdoptOrder; readonly firstPart: () => void };

/**
 * Keeps every stream on as many origins as it should be on. The first living holder looks after it: it replaces a holder
 * that has gone, the transcoder hears of that with its next upload, and the new one begins with the window of the old.
 */
export class HolderUpkeep implements Disposable {
  readonly #deps: HolderUpkeepDeps;
  readonly #adoptions = new Map<string, Adoption>();
  /** When a stream's list of holders was made here, monotonic ms. */
  readonly #namedMs = new Map<string, number>();
  /** Since when no parts have come for a stream while others get them, monotonic ms. */
  readonly #cutOffMs = new Map<string, number>();
  readonly #changes: Counter<'change'>;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;
  #isChecking = false;
  #closed = false;
  #startedMs = Infinity;

  constructor(deps: HolderUpkeepDeps) {
    this.#deps = deps;
    this.#changes = new Counter({
      name: 'origin_cluster_holder_changes_total',
      help: 'Streams that this origin adopted, gave to another holder, let go of (outdated, cut off), or failed to adopt or give.',
      labelNames: ['change'],
      registers: [deps.metrics],
    });
  }

  start(): void {
    this.#startedMs = this.#deps.clock.monotonicMs();
    this.#checkLater();
  }

  #checkLater(): void {
    this.#timer = this.#deps.clock.after(HOLDERS_CHECK_MS, () => {
      void this.check().finally(() => {
        if (!this.#closed) this.#checkLater();
      });
    });
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#abort.abort();
    return Promise.resolve();
  }

  /**
   * Whether the stream is being taken over: its parts are to be sent again in a moment. Tells at the same time that parts
   * are coming.
   */
  isAdopting(streamId: string): boolean {
    const adoption = this.#adoptions.get(streamId);
    adoption?.firstPart();
    return adoption !== undefined;
  }

  /** A list of holders was made here: those on it need a moment until they have the stream. */
  named(streamId: string): void {
    this.#namedMs.set(streamId, this.#deps.clock.monotonicMs());
  }

  /** Looks at every stream that this origin has. */
  async check(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    try {
      for (const stream of this.#deps.live.list()) if (!stream.isEnded) await this.#checkStream(stream);
      for (const streamId of this.#namedMs.keys())
        if (this.#deps.live.get(streamId) === undefined) this.#namedMs.delete(streamId);
      for (const streamId of this.#cutOffMs.keys())
        if (this.#deps.live.get(streamId) === undefined) this.#cutOffMs.delete(streamId);
    } finally {
      this.#isChecking = false;
    }
  }

  /** Begins to take a stream over; what comes of it shows in this origin's state. */
  adopt(order: AdoptOrder): void {
    const { streamId } = order.holders;
    if (this.#adoptions.has(streamId) || this.#adoptions.size >= ADOPTIONS_MAX || this.#closed) return;
    const firstPart = Promise.withResolvers<boolean>();
    this.#adoptions.set(streamId, { order, firstPart: () => firstPart.resolve(true) });
    if (!order.isPublishing) firstPart.resolve(false);
    const timer = this.#deps.clock.after(FIRST_PART_WAIT_MS, () => firstPart.resolve(false));
    firstPart.promise
      .then(async (hasCome) => {
        if (order.isPublishing && !hasCome)
          throw new Error('no part has come for a stream that is published');
        await this.#pause(SETTLE_MS);
        await this.#takeOver(order);
      })
      .catch((error: unknown) => {
        this.#changes.inc({ change: 'adopt_failed' });
        this.#deps.logger.warn(
          { err: error, streamId, from: order.from },
          'a stream could not be taken over',
        );
      })
      .finally(() => {
        timer.cancel();
        this.#adoptions.delete(streamId);
      });
  }

  async #checkStream(stream: LiveStream): Promise<void> {
    const { held, membership, ownUrl } = this.#deps;
    const streamId = stream.id;
    const own = held.ofOwn(streamId);
    const newest = held.newest(streamId);
    if (newest === undefined) return this.#claim(stream);
    if (own === undefined || !newest.nodeUrls.includes(ownUrl)) {
      // Others have gone on without this origin; what it has is old.
      const hasOthers = held.holdersWithData(streamId).some((url) => url !== ownUrl);
      if (!hasOthers) return;
      return this.#letGo(streamId, 'outdated');
    }
    if (this.#isCutOff(stream)) return this.#letGo(streamId, 'cut_off');
    if (newest.version > own.version) held.put(newest);
    const having = new Set(held.holdersWithData(streamId));
    const isNew =
      this.#deps.clock.monotonicMs() - (this.#namedMs.get(streamId) ?? -Infinity) < ADOPTION_GRACE_MS;
    const present = newest.nodeUrls.filter((url) => membership.isAlive(url) && (having.has(url) || isNew));
    const caretaker = present.find((url) => having.has(url));
    if (caretaker !== ownUrl) return;
    const staying = present.filter(
      (url) => !membership.isLeaving(url) && !(url === ownUrl && held.isDraining),
    );
    const isWhole = staying.length >= HOLDERS_PER_STREAM && present.length === newest.nodeUrls.length;
    if (!isWhole) await this.#replace(stream, newest, present, staying.length);
  }

  #letGo(streamId: string, change: 'outdated' | 'cut_off'): void {
    this.#deps.live.abandon(streamId);
    this.#changes.inc({ change });
    this.#deps.logger.info({ streamId, change }, 'a stream is left to the other origins');
    this.#deps.onChange();
  }

  #isCutOff({ id, status }: LiveStream): boolean {
    const { held, clock } = this.#deps;
    if (!status.isStale || held.isLast(id)) {
      this.#cutOffMs.delete(id);
      return false;
    }
    const sinceMs = this.#cutOffMs.get(id) ?? clock.monotonicMs();
    this.#cutOffMs.set(id, sinceMs);
    if (clock.monotonicMs() - sinceMs < CUT_OFF_MS) return false;
    this.#cutOffMs.delete(id);
    return true;
  }

  /** A stream that was here before this origin was started, and that nobody else has. */
  #claim({ id, writer }: LiveStream): void {
    const { held, ownUrl, onChange, choose, clock } = this.#deps;
    const isPreferred = choose(id)[0] === ownUrl;
    const waitMs = isPreferred ? CLAIM_AFTER_MS : 2 * CLAIM_AFTER_MS;
    if (writer === undefined || clock.monotonicMs() - this.#startedMs < waitMs) return;
    held.put(held.next({ streamId: id, ...writer }, [ownUrl]));
    onChange();
  }

  async #replace(
    { id, writer, status }: LiveStream,
    newest: StreamHolders,
    present: readonly string[],
    stayingCount: number,
  ): Promise<void> {
    const { held, choose, onChange, peers, ownUrl } = this.#deps;
    if (writer === undefined) return;
    const candidate =
      stayingCount >= HOLDERS_PER_STREAM ? undefined : choose(id).find((url) => !present.includes(url));
    const nodeUrls = candidate === undefined ? present : [...present, candidate];
    const isSame =
      nodeUrls.length === newest.nodeUrls.length &&
      nodeUrls.every((url, index) => url === newest.nodeUrls[index]);
    if (isSame && candidate === undefined) return;
    const holders = held.next({ streamId: id, ...writer }, nodeUrls);
    try {
      if (candidate !== undefined) {
        const isPublishing = status.state === 'live' && !status.isStale;
        const body: AdoptOrder = { holders, from: ownUrl, isPublishing };
        const path = `/internal/v1/streams/${id}/adopt`;
        await peers.call(candidate, { method: 'POST', path, body, timeoutMs: ADOPT_TIMEOUT_MS });
        this.named(id);
        this.#changes.inc({ change: 'given' });
      }
      held.put(holders);
    } catch (error) {
      this.#changes.inc({ change: 'give_failed' });
      this.#deps.logger.warn(
        { err: error, streamId: id, candidate },
        'a stream could not be given to another origin',
      );
      // The transcoder shall not go on with one that is gone.
      held.put(held.next({ streamId: id, ...writer }, present));
    }
    this.#deps.logger.info({ streamId: id, holders: held.ofOwn(id)?.nodeUrls }, 'a stream has other holders');
    onChange();
  }

  async #takeOver({ holders, from }: AdoptOrder): Promise<void> {
    const { clock, peers, live, held, onChange, logger } = this.#deps;
    const { streamId } = holders;
    const path = `/internal/v1/streams/${streamId}/window`;
    const call = { method: 'GET', path, timeoutMs: IMAGE_TIMEOUT_MS, signal: this.#abort.signal } as const;
    const { bytes } = await peers.call(from, call);
    const image = decodeStreamImage(bytes, clock.monotonicMs());
    if (this.#closed || image.streamId !== streamId) return;
    live.abandon(streamId);
    live.restore({ ...image, recorder: undefined });
    held.put(holders);
    this.named(streamId);
    this.#changes.inc({ change: 'adopted' });
    logger.info({ streamId, from, bytes: bytes.length }, 'stream taken over');
    onChange();
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.#deps.clock.after(delayMs, resolve));
  }
}
