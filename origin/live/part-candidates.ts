import { DEFAULT_PIPELINE, type PartUpload } from '#protocol/ingest/part-upload.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { LiveRendition } from '#origin/live/live-rendition.ts';
import type { MediaObject } from '#origin/live/live-segment.ts';
import { compareWithListed, type PartOutcome, type PlacedOutcome } from '#origin/live/part-placement.ts';
import { comparePositions, type PartPosition } from '#origin/live/part-position.ts';
import { PipelineRoll } from '#origin/live/pipeline-roll.ts';

/** A valid copy of a part, from one pipeline. */
export type Candidate = {
  readonly upload: PartUpload;
  /** None when the pipeline says that the part does not exist. */
  readonly media: MediaObject | undefined;
  /** Monotonic time. */
  readonly arrivedAtMs: number;
};

/** What the choice between candidates needs of the presentation around it. */
export type CandidateContext = {
  readonly clock: Clock;
  readonly cellMs: number;
  readonly partTargetMs: number;
  readonly targetDurationMs: number;
  /** Lists a candidate, and gaps for what is missing before it; then wakes who waited. @throws {ProblemError} */
  place(candidate: Candidate): PlacedOutcome;
  /** Lists a gap at the next place; then wakes who waited. */
  placeGap(position: PartPosition): void;
  /** Bytes of candidates that wait have become more, or fewer when negative. */
  onWaitingBytes(bytes: number): void;
};

/** Copies that wait for their turn in one rendition; one more and the place that is waited for becomes a gap. */
export const WAITING_PARTS_MAX = 24;
/** Parts of one rendition whose uploads are remembered, so that a repeated one is told from another one. */
const REMEMBERED_PARTS_MAX = 512;
/** A pipeline that has said nothing for so many target durations is not waited for. */
const SILENT_TARGETS = 2;
/** What is remembered of a part that does not exist. */
const NO_MEDIA = 'gap';

/**
 * Chooses between the copies of a part that the pipelines of a session send: the first valid one, but from the same
 * pipeline as the part before it within a segment, as long as that pipeline meets its deadline. What no pipeline can
 * still send, or none has sent by the deadline, becomes a gap, so that later parts are listed.
 *
 * The deadline of a part is one PART-TARGET after it was to be expected, and never more than one PART-TARGET after
 * another copy of it, or a later part, has come. With a single pipeline nothing is ever waited for: it sends in order,
 * so what it has passed over does not exist.
 */
export class PartCandidates {
  readonly #rendition: LiveRendition;
  readonly #context: CandidateContext;
  readonly #roll: PipelineRoll;
  /** Candidates at the next place and beyond it, by place, then by pipeline in the order of arrival. */
  readonly #waiting = new Map<string, Map<string, Candidate>>();
  /** Digests of what came, by place and pipeline; the oldest place leaves first. */
  readonly #remembered = new Map<string, Map<string, string>>();
  #waitingCount = 0;
  #preferred: { readonly pipeline: string; readonly msn: number } | undefined;
  #listedAtMs: number | undefined;
  #timer: Timer | undefined;

  constructor(rendition: LiveRendition, context: CandidateContext) {
    this.#rendition = rendition;
    this.#context = context;
    this.#roll = new PipelineRoll(SILENT_TARGETS * context.targetDurationMs);
  }

  /** @throws {ProblemError} as {@link PipelineRoll.noteInit} */
  noteInit(pipeline: string | undefined, isSame: boolean): void {
    this.#roll.noteInit(pipeline ?? DEFAULT_PIPELINE, isSame, this.#context.clock.monotonicMs());
  }

  /** @throws {ProblemError} as {@link PipelineRoll.assertMayWrite} */
  assertMayWrite({ pipeline }: Pick<PartUpload, 'pipeline'>): void {
    this.#roll.assertMayWrite(pipeline ?? DEFAULT_PIPELINE);
  }

  /**
   * Takes a valid copy of a part, and lists whatever can be listed now.
   *
   * @throws {ProblemError} 409 `part_conflict`, 422 `part_invalid`; the copy is forgotten then
   */
  offer(upload: PartUpload, media: MediaObject | undefined): PartOutcome {
    this.assertMayWrite(upload);
    const nowMs = this.#context.clock.monotonicMs();
    const pipeline = upload.pipeline ?? DEFAULT_PIPELINE;
    const before = this.#remembered.get(keyOf(upload));
    const known = before?.get(pipeline);
    const digest = media?.digest ?? NO_MEDIA;
    if (known !== undefined && known !== digest)
      throw new ProblemError(409, 'part_conflict', 'This pipeline has sent other bytes for this part.');
    if (known === undefined && comparePositions(upload, this.#rendition.window.next) < 0)
      return this.#comparePassed(upload, media, before !== undefined);
    this.#roll.noteReached(pipeline, upload, nowMs);
    if (known !== undefined) return 'repeated';
    this.#remember(upload, pipeline, digest);
    this.#wait(pipeline, { upload, media, arrivedAtMs: nowMs });
    return this.#advance({ upload, pipeline }) ?? 'waiting';
  }

  /** Lists everything that waits, with gaps between, because nothing more will come. */
  flush(): void {
    this.#advance(undefined, true);
    this.close();
  }

  /** Forgets everything that waits. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const key of this.#waiting.keys()) this.#drop(key);
  }

  /** A part whose place has been passed: another pipeline's copy, a repetition, or too late. */
  #comparePassed(upload: PartUpload, media: MediaObject | undefined, othersCame: boolean): PartOutcome {
    const pipeline = upload.pipeline ?? DEFAULT_PIPELINE;
    const listed = this.#rendition.window.find(upload.msn)?.parts[upload.part];
    const outcome =
      othersCame && listed?.media !== undefined
        ? 'superseded'
        : compareWithListed(this.#rendition, upload, media);
    this.#roll.noteReached(pipeline, upload, this.#context.clock.monotonicMs());
    if (othersCame) this.#remember(upload, pipeline, media?.digest ?? NO_MEDIA);
    return outcome;
  }

  /**
   * Lists what can be listed. Returns what became of the offered candidate, undefined while it waits.
   *
   * @throws {ProblemError} when the offered candidate cannot be listed
   */
  #advance(offered: Offer | undefined, isLast = false): PartOutcome | undefined {
    let outcome: PartOutcome | undefined;
    for (;;) {
      this.#dropPassed();
      if (this.#waitingCount === 0) break;
      const nowMs = this.#context.clock.monotonicMs();
      const deadlineMs = this.#deadlineMs();
      const isDue = isLast || nowMs >= deadlineMs || this.#waitingCount > WAITING_PARTS_MAX;
      const choice = this.#choose(nowMs, isDue);
      if (choice === 'wait') {
        this.#arm(deadlineMs - nowMs);
        break;
      }
      if (choice === 'gap') {
        this.#listedAtMs = nowMs;
        this.#context.placeGap(this.#rendition.window.next);
        continue;
      }
      const placed = this.#place(choice, offered);
      if (offered !== undefined && keyOf(offered.upload) === keyOf(choice.upload))
        outcome = choice.upload === offered.upload ? placed : 'superseded';
    }
    if (this.#waitingCount === 0) this.#timer?.cancel();
    if (outcome !== undefined || offered === undefined) return outcome;
    return comparePositions(offered.upload, this.#rendition.window.next) < 0 ? 'superseded' : undefined;
  }

  #choose(nowMs: number, isDue: boolean): Candidate | 'gap' | 'wait' {
    const { next } = this.#rendition.window;
    const here = this.#waiting.get(keyOf(next));
    const preferred = this.#preferred?.msn === next.msn ? this.#preferred.pipeline : undefined;
    const wanted = preferred === undefined ? undefined : here?.get(preferred);
    if (wanted?.media !== undefined) return wanted;
    if (!isDue && preferred !== undefined && this.#roll.mayStillSend(preferred, next, nowMs)) return 'wait';
    const first = [...(here?.values() ?? [])].find(({ media }) => media !== undefined);
    if (first !== undefined) return first;
    if (!isDue && this.#roll.anyMayStillSend(next, nowMs)) return 'wait';
    // That it does not exist is what there is to say of it.
    const [absent] = here?.values() ?? [];
    if (absent !== undefined) return absent;
    return this.#roll.anyMayStillSend(next, nowMs) ? 'gap' : this.#earliest();
  }

  /** The candidate that is nearest to the next place. */
  #earliest(): Candidate {
    const firsts = [...this.#waiting.values()].flatMap((here) => [...here.values()]);
    return firsts.reduce((a, b) => (comparePositions(b.upload, a.upload) < 0 ? b : a));
  }

  /** @throws {ProblemError} when it is the offered one; another one that cannot be listed is as good as lost */
  #place(candidate: Candidate, offered: Offer | undefined): PlacedOutcome | undefined {
    const { upload, media } = candidate;
    const key = keyOf(upload);
    const pipeline = upload.pipeline ?? DEFAULT_PIPELINE;
    this.#drop(key, pipeline);
    try {
      const outcome = this.#context.place(candidate);
      if (media !== undefined) this.#prefer(pipeline, upload);
      this.#listedAtMs = this.#context.clock.monotonicMs();
      return outcome;
    } catch (error) {
      this.#remembered.get(key)?.delete(pipeline);
      if (!(error instanceof ProblemError) || upload === offered?.upload) throw error;
      return undefined;
    }
  }

  /** A pipeline that has merely lost a part, and is further already, stays the preferred one. */
  #prefer(pipeline: string, { msn, part }: PartPosition): void {
    const isKept =
      this.#preferred?.msn === msn && this.#roll.hasPassed(this.#preferred.pipeline, { msn, part });
    if (!isKept) this.#preferred = { pipeline, msn };
  }

  /** When the next place is given up, or given to another pipeline. */
  #deadlineMs(): number {
    let firstMs = Number.POSITIVE_INFINITY;
    for (const here of this.#waiting.values())
      for (const { arrivedAtMs } of here.values()) firstMs = Math.min(firstMs, arrivedAtMs);
    const { cellMs, partTargetMs } = this.#context;
    const expectedMs = this.#listedAtMs === undefined ? firstMs : this.#listedAtMs + cellMs;
    return Math.min(firstMs, expectedMs) + partTargetMs;
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#context.clock.after(Math.max(0, delayMs), () => void this.#advance(undefined));
  }

  #wait(pipeline: string, candidate: Candidate): void {
    const key = keyOf(candidate.upload);
    const here = this.#waiting.get(key) ?? new Map<string, Candidate>();
    this.#waiting.set(key, here.set(pipeline, candidate));
    this.#waitingCount += 1;
    this.#context.onWaitingBytes(candidate.media?.bytes.length ?? 0);
  }

  /** Forgets the candidates of a place, or that of one pipeline. */
  #drop(key: string, pipeline?: string): void {
    const here = this.#waiting.get(key);
    if (here === undefined) return;
    for (const [id, { media }] of here) {
      if (pipeline !== undefined && id !== pipeline) continue;
      here.delete(id);
      this.#waitingCount -= 1;
      this.#context.onWaitingBytes(-(media?.bytes.length ?? 0));
    }
    if (here.size === 0) this.#waiting.delete(key);
  }

  #dropPassed(): void {
    const { next } = this.#rendition.window;
    for (const [key, here] of this.#waiting) {
      const [any] = here.values();
      if (any === undefined || comparePositions(any.upload, next) < 0) this.#drop(key);
    }
  }

  #remember(position: PartPosition, pipeline: string, digest: string): void {
    const key = keyOf(position);
    const known = this.#remembered.get(key) ?? new Map<string, string>();
    this.#remembered.set(key, known.set(pipeline, digest));
    if (this.#remembered.size <= REMEMBERED_PARTS_MAX) return;
    const [oldest] = this.#remembered.keys();
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }
}

type Offer = { readonly upload: PartUpload; readonly pipeline: string };

const keyOf = ({ msn, part }: PartPosition): string => `${msn}.${part}`;
