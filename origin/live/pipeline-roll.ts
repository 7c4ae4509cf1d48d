import { ProblemError } from '#runtime/http/problem.ts';
import { comparePositions, laterPosition, type PartPosition } from '#origin/live/part-position.ts';

/** Most pipelines that write one timeline of a rendition. */
export const PIPELINES_MAX = 4;

type Pipeline = {
  /** What its init segment is worth: `same` as the stored one, `other`, or not put yet. */
  init: 'same' | 'other' | 'none';
  /** The furthest place it has spoken of; it sends in order and will not speak of earlier ones again. */
  reached: PartPosition | undefined;
  heardAtMs: number;
};

/** The pipelines that write one rendition of a timeline: who may, who is alive, and how far each has come. */
export class PipelineRoll {
  readonly #silentAfterMs: number;
  readonly #pipelines = new Map<string, Pipeline>();

  /** @param silentAfterMs a pipeline that has said nothing for so long is not waited for */
  constructor(silentAfterMs: number) {
    this.#silentAfterMs = silentAfterMs;
  }

  /**
   * The pipeline has put the init segment that is stored, or another one. One that is not byte for byte the same would
   * have to be named by the playlist between parts of one segment, which no playlist can say: the pipeline is not used.
   *
   * @throws {ProblemError} 409 `part_conflict` when it has put the stored one before, `init_mismatch` otherwise
   */
  noteInit(id: string, isSame: boolean, nowMs: number): void {
    const pipeline = this.#hear(id, nowMs);
    if (isSame && pipeline.init !== 'other') pipeline.init = 'same';
    else if (pipeline.init === 'same')
      throw new ProblemError(409, 'part_conflict', 'The timeline has another init segment already.');
    else {
      pipeline.init = 'other';
      throw initMismatch();
    }
  }

  /**
   * Whether parts of the pipeline can be used at all. Where nobody has put the stored init segment (it was there before
   * this process), it is nobody's to prove.
   *
   * @throws {ProblemError} 409 `init_mismatch`, `pipelines_exhausted`, 422 `part_invalid`
   */
  assertMayWrite(id: string): void {
    const init = this.#pipelines.get(id)?.init ?? 'none';
    if (init === 'same') return;
    if (init === 'other') throw initMismatch();
    if ([...this.#pipelines.values()].some((pipeline) => pipeline.init === 'same'))
      throw new ProblemError(422, 'part_invalid', 'The init segment of the pipeline must come first.');
    if (!this.#pipelines.has(id)) this.#assertRoom();
  }

  /** The pipeline has spoken of a place. */
  noteReached(id: string, position: PartPosition, nowMs: number): void {
    const pipeline = this.#hear(id, nowMs);
    pipeline.reached = laterPosition(pipeline.reached, position);
  }

  /** Whether the pipeline is alive and has not come as far as a place, so that it may still send that. */
  mayStillSend(id: string, position: PartPosition, nowMs: number): boolean {
    const pipeline = this.#pipelines.get(id);
    if (pipeline === undefined || pipeline.init === 'other') return false;
    if (nowMs - pipeline.heardAtMs > this.#silentAfterMs) return false;
    return pipeline.reached === undefined || comparePositions(pipeline.reached, position) < 0;
  }

  /** Whether the pipeline has spoken of a place or of a later one. */
  hasPassed(id: string, position: PartPosition): boolean {
    const reached = this.#pipelines.get(id)?.reached;
    return reached !== undefined && comparePositions(reached, position) >= 0;
  }

  /** Whether any pipeline may still send what belongs to a place. */
  anyMayStillSend(position: PartPosition, nowMs: number): boolean {
    return [...this.#pipelines.keys()].some((id) => this.mayStillSend(id, position, nowMs));
  }

  #hear(id: string, nowMs: number): Pipeline {
    let pipeline = this.#pipelines.get(id);
    if (pipeline === undefined) {
      this.#assertRoom();
      pipeline = { init: 'none', reached: undefined, heardAtMs: nowMs };
      this.#pipelines.set(id, pipeline);
    }
    pipeline.heardAtMs = nowMs;
    return pipeline;
  }

  #assertRoom(): void {
    if (this.#pipelines.size >= PIPELINES_MAX)
      throw new ProblemError(
        409,
        'pipelines_exhausted',
        `At most ${PIPELINES_MAX} pipelines write a timeline.`,
      );
  }
}

function initMismatch(): ProblemError {
  return new ProblemError(
    409,
    'init_mismatch',
    'The init segment of this pipeline differs from the one that is listed; the pipeline is not used.',
  );
}
