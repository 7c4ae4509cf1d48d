import type { Logger } from '#runtime/log.ts';

/** Which stream is awaited, and who is to hear of it. */
export type OnAirWatch = {
  /** `http://host:port` of the origin. */
  readonly originUrl: string;
  readonly streamId: string;
  readonly say: (text: string) => void;
};

const POLL_MS = 250;
const DEADLINE_MS = 30_000;
const ANSWER_DEADLINE_MS = 2_000;

/**
 * Says when a stream is on air, or after 30 s that it still is not. Never rejects; `signal` ends the wait in silence.
 */
export async function sayWhenLive(
  { originUrl, streamId, say }: OnAirWatch,
  { logger }: { readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  const url = `${originUrl}/live/${streamId}/master.m3u8`;
  const endMs = performance.now() + DEADLINE_MS;
  while (!signal.aborted && performance.now() < endMs) {
    try {
      const answer = await fetch(url, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_DEADLINE_MS)]),
      });
      await answer.body?.cancel();
      if (answer.status === 200) {
        say(`On air: ${originUrl}/watch/${streamId}\n`);
        return;
      }
    } catch (error) {
      if (signal.aborted) return;
      logger.debug({ err: error }, 'asking for the demo stream');
    }
    await pause(POLL_MS, signal);
  }
  if (!signal.aborted) say(`Stream ${streamId} is not on air after ${DEADLINE_MS / 1_000} s; see the log.\n`);
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done, { once: true });
  });
}
