import { Pool } from 'undici';
import { TimelineGrant, type EndRequest, type TimelineRequest } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import { TranscodeError, toTranscodeError } from '#transcoder/transcode-error.ts';
import { judge, problemCode } from '#transcoder/publisher/origin-uploader.ts';

type Session = { readonly streamId: string; readonly sessionId: string; readonly fencingToken: number };
type Answer = { readonly status: number; readonly text: string };

const RETRY_MS = 150;
const ATTEMPT_TIMEOUT_MS = 2_000;
const ANSWER_BYTES_MAX = 16 * 1024;

/** The two session calls that a worker makes by itself; the others are the ingest's. */
export class TimelineClient {
  readonly #originUrls: readonly string[];
  readonly #ingestToken: string;
  readonly #session: Session;
  readonly #clock: Clock;
  /** Index of the origin that has answered last. */
  #preferred = 0;

  constructor(originUrls: readonly string[], ingestToken: string, session: Session, clock: Clock) {
    this.#originUrls = originUrls;
    this.#ingestToken = ingestToken;
    this.#session = session;
    this.#clock = clock;
  }

  /**
   * Asks for a new timeline, the origin first that has answered last, until one does.
   *
   * @throws {TranscodeError} `session_over`, `origin_refused`, or `origin_unreachable` after `deadlineMs`
   */
  async begin(
    request: Omit<TimelineRequest, 'fencingToken'>,
    deadlineMs: number,
    signal: AbortSignal,
  ): Promise<TimelineGrant> {
    const body: TimelineRequest = { fencingToken: this.#session.fencingToken, ...request };
    const path = `/ingest/v1/sessions/${this.#session.sessionId}/timelines`;
    const endMs = this.#clock.monotonicMs() + deadlineMs;
    for (let attempt = 0; ; attempt++) {
      const index = (this.#preferred + attempt) % this.#originUrls.length;
      const { status, text } = await this.#post(this.#originUrls[index] as string, path, body, signal);
      if (status === 201 || status === 200) {
        this.#preferred = index;
        return parseGrant(text);
      }
      const verdict = status === 0 ? 'retry' : judge(status, await problemCode(oneChunk(text)));
      if (verdict instanceof TranscodeError) throw verdict;
      if (verdict === 'refused')
        throw new TranscodeError('origin_refused', `the origin refuses the timeline: ${status} ${text}`);
      if (signal.aborted || this.#clock.monotonicMs() >= endMs)
        throw new TranscodeError('origin_unreachable', `no origin has given out a timeline: ${text}`);
      await pause(this.#clock, RETRY_MS);
    }
  }

  /** Tells the origins that this session cannot go on; its broadcaster is then sent away. One attempt each. */
  async giveUp(signal: AbortSignal): Promise<void> {
    const { streamId, sessionId, fencingToken } = this.#session;
    const body: EndRequest = { sessionId, fencingToken, reason: 'error' };
    for (const originUrl of this.#originUrls)
      await this.#post(originUrl, `/ingest/v1/${streamId}/end`, body, signal);
  }

  /** Status 0 stands for no answer. */
  async #post(originUrl: string, path: string, body: unknown, signal: AbortSignal): Promise<Answer> {
    const pool = new Pool(originUrl, { connections: 1 });
    const attempt = new AbortController();
    const timer = this.#clock.after(ATTEMPT_TIMEOUT_MS, () => attempt.abort());
    try {
      const response = await pool.request({
        method: 'POST',
        path,
        headers: { authorization: `Bearer ${this.#ingestToken}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.any([attempt.signal, signal]),
      });
      const text = await response.body.text();
      return { status: response.statusCode, text: text.slice(0, ANSWER_BYTES_MAX) };
    } catch (error) {
      return { status: 0, text: toTranscodeError(error, 'origin_unreachable').message };
    } finally {
      timer.cancel();
      await pool.destroy();
    }
  }
}

function parseGrant(text: string): TimelineGrant {
  try {
    return TimelineGrant.parse(JSON.parse(text));
  } catch (error) {
    throw new TranscodeError('origin_refused', 'the origin answers something that is no timeline', {
      cause: error,
    });
  }
}

async function* oneChunk(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve));
}
