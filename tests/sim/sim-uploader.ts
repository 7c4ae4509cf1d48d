import { PART_BYTES_MAX, fromUploadHeaders } from '#protocol/ingest/part-upload.ts';
import { judge } from '#transcoder/publisher/origin-uploader.ts';
import { UploadQueue, type UploadItem } from '#transcoder/publisher/upload-queue.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { PutAnswer, SimOrigin } from '#tests/sim/sim-origin.ts';
import type { SimWorld } from '#tests/sim/sim-world.ts';

/** The way from a pipeline to an origin, and what is wrong with it. */
export type SimLink = {
  delayMs: number;
  /** Shares of the requests that are lost, whose answers are lost, and that arrive a second time, later. */
  lost: number;
  unanswered: number;
  doubled: number;
  isCut: boolean;
};

export const CLEAN_LINK: SimLink = { delayMs: 8, lost: 0, unanswered: 0, doubled: 0, isCut: false };

const ATTEMPT_TIMEOUT_MS = 500;
const RETRY_MS = { first: 40, most: 640 };
const REFUSALS_MAX = 12;
const LIMITS = { bytesMax: 8 * PART_BYTES_MAX, ageMaxMs: 4_000, itemsPerRenditionMax: 64 };

/**
 * What `transcoder/publisher/origin-uploader.ts` does, on the run's own time and over a network that loses: one request
 * at a time per rendition, in order, repeated until it is answered.
 */
export class SimUploader {
  readonly #world: SimWorld;
  readonly #origin: SimOrigin;
  readonly #link: SimLink;
  readonly #onFatal: (code: string) => void;
  readonly #queue: UploadQueue;
  readonly #busy = new Set<string>();
  readonly #refusals = new Map<string, number>();
  #isStopped = false;

  constructor(
    world: SimWorld,
    origin: SimOrigin,
    link: SimLink,
    renditionIds: readonly string[],
    onFatal: (code: string) => void,
  ) {
    this.#world = world;
    this.#origin = origin;
    this.#link = link;
    this.#onFatal = onFatal;
    this.#queue = new UploadQueue(LIMITS, renditionIds, () => undefined);
  }

  push(item: UploadItem): void {
    if (this.#isStopped) return;
    this.#queue.push(item, this.#world.nowMs);
    this.#pump(item.renditionId);
  }

  stop(): void {
    this.#isStopped = true;
  }

  #pump(renditionId: string, attempts = 0): void {
    if (this.#isStopped || this.#busy.has(renditionId)) return;
    const item = this.#queue.take(renditionId, this.#world.nowMs);
    if (item === undefined) return;
    this.#busy.add(renditionId);
    this.#send(item, (answer) => {
      this.#busy.delete(renditionId);
      if (!this.#isStopped) this.#settle(item, answer, attempts);
    });
  }

  #send(item: UploadItem, done: (answer: PutAnswer | undefined) => void): void {
    const { delayMs, lost, unanswered, doubled, isCut } = this.#link;
    let isDone = false;
    const finish = (answer: PutAnswer | undefined): void => {
      if (isDone) return;
      isDone = true;
      done(answer);
    };
    this.#world.after(ATTEMPT_TIMEOUT_MS, () => finish(undefined));
    const latencyMs = this.#world.between(delayMs / 2, delayMs * 2);
    if (!isCut && !this.#world.chance(lost))
      this.#world.after(latencyMs, () => {
        const answer = this.#deliver(item);
        const isHeard = !this.#world.chance(unanswered);
        if (isHeard) this.#world.after(latencyMs, () => finish(answer));
      });
    if (!isCut && this.#world.chance(doubled))
      this.#world.after(latencyMs + this.#world.between(100, 3_000), () => void this.#deliver(item));
  }

  /** The request reaches the origin, whether or not somebody still waits for its answer. */
  #deliver(item: UploadItem): PutAnswer | undefined {
    const { port } = this.#origin;
    if (port === undefined) return undefined;
    const body = item.body ?? new Uint8Array();
    const answer = port.put(item.path, item.headers, new Uint8Array(body));
    const { fencingToken } = fromUploadHeaders((name) => item.headers[name]);
    this.#world.expect(
      'a lower token never wins',
      answer.status >= 300 || fencingToken >= this.#origin.tokenSeen,
      () => `${this.#origin.name} took ${item.path} with token ${fencingToken} of ${this.#origin.tokenSeen}`,
    );
    if (answer.status >= 300)
      this.#world.note(`${this.#origin.name} refuses ${item.path}, token ${fencingToken}: ${answer.code}`);
    return answer;
  }

  #settle(item: UploadItem, answer: PutAnswer | undefined, attempts: number): void {
    const { renditionId } = item;
    const verdict = answer === undefined ? 'retry' : verdictOn(answer);
    if (verdict instanceof TranscodeError) {
      this.stop();
      return this.#onFatal(verdict.code);
    }
    if (verdict === 'retry') {
      this.#queue.settle(renditionId, 'keep');
      const delayMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** attempts);
      return this.#world.after(delayMs, () => this.#pump(renditionId, attempts + 1));
    }
    if (verdict === 'stored') {
      this.#refusals.delete(renditionId);
      this.#queue.settle(renditionId, 'remove');
    } else {
      const refusals = (this.#refusals.get(renditionId) ?? 0) + 1;
      this.#refusals.set(renditionId, refusals);
      this.#queue.refuse(renditionId);
      if (refusals >= REFUSALS_MAX) {
        this.stop();
        return this.#onFatal('timeline_lost');
      }
    }
    this.#pump(renditionId);
  }
}

function verdictOn({ status, code }: PutAnswer): 'stored' | ReturnType<typeof judge> {
  if (status < 300) return 'stored';
  return status === 404 ? new TranscodeError('timeline_lost', code) : judge(status, code);
}
