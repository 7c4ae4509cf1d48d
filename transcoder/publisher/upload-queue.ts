import { UPLOAD_HEADERS } from '#protocol/ingest/part-upload.ts';

/** Something to be uploaded, in its place within a rendition. */
export type UploadItem = {
  readonly renditionId: string;
  readonly kind: 'init' | 'part';
  /** Path and query of the URL. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Nothing for a part that is to be listed as a gap. */
  readonly body: Uint8Array | undefined;
  /** For the latency figures; nothing for gaps and init segments. */
  readonly arrivalUtcMs: number | undefined;
};

/** Limits of everything that waits for one origin. */
export type UploadQueueLimits = {
  /** Media bytes that wait or are under way. */
  readonly bytesMax: number;
  /** Age at which a part is given up. */
  readonly ageMaxMs: number;
  /** Items of one rendition, gap markers included. */
  readonly itemsPerRenditionMax: number;
};

/** Why a part was given up. */
export type DropReason = 'bytes' | 'age' | 'items' | 'refused';

type Waiting = { item: UploadItem; readonly sinceMs: number };
type Lane = { readonly renditionId: string; readonly waiting: Waiting[]; inFlight: boolean };

/**
 * What waits for one origin: one lane per rendition, in order within a lane, bounded over all of them. When there is
 * too much, the waiting parts of the rendition with the lowest priority become gap markers, which have no body; then
 * those of the next one. Pure: it is told the time and sends nothing.
 */
export class UploadQueue {
  readonly #limits: UploadQueueLimits;
  /** Lowest priority first. */
  readonly #lanes: readonly Lane[];
  readonly #onDrop: (reason: DropReason, renditionId: string) => void;
  #bytes = 0;
  #items = 0;

  /** @param renditionIds lowest priority first: the first one's parts are given up first */
  constructor(
    limits: UploadQueueLimits,
    renditionIds: readonly string[],
    onDrop: (reason: DropReason, renditionId: string) => void,
  ) {
    this.#limits = limits;
    this.#lanes = renditionIds.map((renditionId) => ({ renditionId, waiting: [], inFlight: false }));
    this.#onDrop = onDrop;
  }

  /** Bytes waiting or under way. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Items waiting or under way. */
  get items(): number {
    return this.#items;
  }

  /** Adds an item at the end of its rendition's lane and sheds what is too much. */
  push(item: UploadItem, nowMs: number): void {
    const lane = this.#laneOf(item.renditionId);
    lane.waiting.push({ item, sinceMs: nowMs });
    this.#bytes += item.body?.length ?? 0;
    this.#items += 1;
    this.#shed(nowMs);
  }

  /**
   * The item to send now, or undefined when there is none or one is under way. It stays in the queue until
   * {@link UploadQueue.settle}; a part that has become too old is given out as a gap.
   */
  take(renditionId: string, nowMs: number): UploadItem | undefined {
    const lane = this.#laneOf(renditionId);
    if (lane.inFlight) return undefined;
    for (let head = lane.waiting[0]; head !== undefined; head = lane.waiting[0]) {
      const ageMs = nowMs - head.sinceMs;
      if (head.item.kind === 'part' && ageMs > this.#limits.ageMaxMs) this.#toGap(lane, head, 'age');
      // A marker that is older still says nothing that the origin has not found out by itself.
      if (head.item.body === undefined && ageMs > 2 * this.#limits.ageMaxMs) {
        this.#removeHead(lane);
        continue;
      }
      lane.inFlight = true;
      return head.item;
    }
    return undefined;
  }

  /** The item under way has been stored or given up (`remove`), or is to be tried again later. */
  settle(renditionId: string, outcome: 'remove' | 'keep'): void {
    const lane = this.#laneOf(renditionId);
    if (!lane.inFlight) return;
    lane.inFlight = false;
    if (outcome === 'remove') this.#removeHead(lane);
  }

  /** The origin has refused the item under way for good: its place becomes a gap, or it goes when it is one already. */
  refuse(renditionId: string): void {
    const lane = this.#laneOf(renditionId);
    const head = lane.waiting[0];
    if (!lane.inFlight || head === undefined) return;
    lane.inFlight = false;
    if (head.item.kind === 'part' && head.item.body !== undefined) this.#toGap(lane, head, 'refused');
    else this.#removeHead(lane);
  }

  /** Forgets everything, also what is under way. */
  clear(): void {
    for (const lane of this.#lanes) {
      lane.waiting.length = 0;
      lane.inFlight = false;
    }
    this.#bytes = 0;
    this.#items = 0;
  }

  #shed(nowMs: number): void {
    for (const lane of this.#lanes) {
      if (this.#bytes <= this.#limits.bytesMax) break;
      // What is under way is left alone: the origin may have it already.
      for (const waiting of lane.waiting.slice(lane.inFlight ? 1 : 0)) {
        if (this.#bytes <= this.#limits.bytesMax) break;
        if (waiting.item.kind === 'part' && waiting.item.body !== undefined)
          this.#toGap(lane, waiting, 'bytes');
      }
    }
    for (const lane of this.#lanes) {
      while (lane.waiting.length > this.#limits.itemsPerRenditionMax) {
        const victim = lane.waiting.findIndex(
          (waiting, index) => waiting.item.kind === 'part' && !(index === 0 && lane.inFlight),
        );
        if (victim < 0) break;
        this.#forget(lane, victim);
        this.#onDrop('items', lane.renditionId);
      }
      for (const waiting of lane.waiting.slice(lane.inFlight ? 1 : 0)) {
        if (nowMs - waiting.sinceMs <= this.#limits.ageMaxMs) break;
        if (waiting.item.kind === 'part' && waiting.item.body !== undefined)
          this.#toGap(lane, waiting, 'age');
      }
    }
  }

  #toGap(lane: Lane, waiting: Waiting, reason: DropReason): void {
    if (waiting.item.body === undefined) return;
    this.#bytes -= waiting.item.body.length;
    waiting.item = toGapItem(waiting.item);
    this.#onDrop(reason, lane.renditionId);
  }

  #removeHead(lane: Lane): void {
    if (lane.waiting.length > 0) this.#forget(lane, 0);
  }

  #forget(lane: Lane, index: number): void {
    const [removed] = lane.waiting.splice(index, 1);
    this.#bytes -= removed?.item.body?.length ?? 0;
    this.#items -= 1;
  }

  #laneOf(renditionId: string): Lane {
    const lane = this.#lanes.find((one) => one.renditionId === renditionId);
    if (lane === undefined) throw new RangeError(`there is no rendition ${renditionId}`);
    return lane;
  }
}

/** The marker that takes the place of a part which is not sent. */
export function toGapItem(item: UploadItem): UploadItem {
  const headers = Object.fromEntries(
    Object.entries(item.headers).filter(
      ([name]) => name !== UPLOAD_HEADERS.digest && name !== 'content-type',
    ),
  );
  return {
    ...item,
    headers: { ...headers, [UPLOAD_HEADERS.gap]: '1', [UPLOAD_HEADERS.independent]: '0' },
    body: undefined,
    arrivalUtcMs: undefined,
  };
}
