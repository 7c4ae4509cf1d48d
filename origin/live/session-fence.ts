import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import { ProblemError } from '#runtime/http/problem.ts';

/** Who writes: the headers that every upload carries. */
export type Writer = Pick<PartUpload, 'sessionId' | 'fencingToken' | 'timeline'>;

/** Lets only the newest publish session write, and that only to its newest timeline. */
export class SessionFence {
  #sessionId = '';
  #fencingToken = 0;
  #timeline = 0;
  #state: 'writing' | 'tail' | 'over' = 'over';

  /** Whether the newest session has ended, or there never was one. Its last parts may still be on their way. */
  get isOver(): boolean {
    return this.#state !== 'writing';
  }

  /** The newest timeline, 0 before the first. */
  get timeline(): number {
    return this.#timeline;
  }

  /** The newest session; undefined before the first. */
  get writer(): { readonly sessionId: string; readonly fencingToken: number } | undefined {
    return this.#sessionId === ''
      ? undefined
      : { sessionId: this.#sessionId, fencingToken: this.#fencingToken };
  }

  isNewest(sessionId: string): boolean {
    return this.#sessionId === sessionId;
  }

  /**
   * Takes the session for the newest one.
   *
   * @throws {ProblemError} 409 `fencing_token_stale` when it is not, 410 `session_ended` when it is over
   */
  admitSession({ sessionId, fencingToken }: Pick<Writer, 'sessionId' | 'fencingToken'>): void {
    const isNewer = fencingToken > this.#fencingToken;
    if (!isNewer && (fencingToken < this.#fencingToken || sessionId !== this.#sessionId)) throw staleToken();
    if (!isNewer && this.isOver) throw sessionOver();
    this.#sessionId = sessionId;
    this.#fencingToken = fencingToken;
    this.#state = 'writing';
  }

  /** Goes on with the session and timeline of another process. */
  restore({ sessionId, fencingToken, timeline }: Writer): void {
    this.#sessionId = sessionId;
    this.#fencingToken = fencingToken;
    this.#timeline = timeline;
    this.#state = 'writing';
  }

  beginTimeline(timeline: number): void {
    this.#timeline = timeline;
  }

  /** The session has ended; what it had sent before is still taken. */
  closeAfterTail(): void {
    this.#state = 'tail';
  }

  /** Nothing of the session is taken any more. */
  close(): void {
    this.#state = 'over';
  }

  /** @throws {ProblemError} 404, 409 `fencing_token_stale`, `timeline_stale`, 410 `session_ended` */
  assertMayWrite(writer: Writer): void {
    if (writer.fencingToken < this.#fencingToken) throw staleToken();
    if (writer.fencingToken > this.#fencingToken || !this.isNewest(writer.sessionId))
      throw new ProblemError(404, 'session_not_found', 'This session has no timeline here.');
    if (this.#state === 'over') throw sessionOver();
    if (writer.timeline < this.#timeline)
      throw new ProblemError(409, 'timeline_stale', `Timeline ${this.#timeline} has begun since.`);
    if (writer.timeline > this.#timeline)
      throw new ProblemError(404, 'timeline_not_found', 'No such timeline was given out.');
  }
}

function staleToken(): ProblemError {
  return new ProblemError(409, 'fencing_token_stale', 'A newer session writes this stream; stop.');
}

function sessionOver(): ProblemError {
  return new ProblemError(410, 'session_ended', 'The session has ended; stop.');
}
