import type { Clock } from '#runtime/clock.ts';

/** A signal that aborts when its parent does or when its time is up. */
export type Deadline = {
  readonly signal: AbortSignal;
  /** Takes the timer and the listeners away; call it when the wait is over. */
  clear(): void;
};

/**
 * Couples a wait to its parent's abort and to a limit of its own: a number of ms on the injected clock, or another
 * signal.
 *
 * @param reason makes the error with which the signal aborts when the limit comes first
 */
export function abortAfter(
  clock: Clock,
  parent: AbortSignal,
  limit: number | AbortSignal,
  reason: () => Error,
): Deadline {
  const controller = new AbortController();
  const onParent = (): void => controller.abort(parent.reason);
  if (parent.aborted) onParent();
  parent.addEventListener('abort', onParent, { once: true });
  if (typeof limit === 'number') {
    const timer = clock.after(limit, () => controller.abort(reason()));
    return {
      signal: controller.signal,
      clear: () => {
        timer.cancel();
        parent.removeEventListener('abort', onParent);
      },
    };
  }
  const onLimit = (): void => controller.abort(limit.reason ?? reason());
  if (limit.aborted) onLimit();
  limit.addEventListener('abort', onLimit, { once: true });
  return {
    signal: controller.signal,
    clear: () => {
      limit.removeEventListener('abort', onLimit);
      parent.removeEventListener('abort', onParent);
    },
  };
}
