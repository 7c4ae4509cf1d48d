import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits until `probe` returns something other than `undefined` or `false`, asking every `intervalMs`.
 *
 * @param name what is being waited for; it is the message when the deadline passes
 * @throws when the deadline passes, with the last error of the probe as cause
 */
export async function waitFor<Value>(
  name: string,
  probe: () => Value | undefined | false | Promise<Value | undefined | false>,
  options: { deadlineMs?: number; intervalMs?: number } = {},
): Promise<Value> {
  const deadlineMs = options.deadlineMs ?? 10_000;
  const endMs = performance.now() + deadlineMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= endMs)
      throw new Error(`gave up after ${deadlineMs} ms waiting for ${name}`, { cause: lastError });
    await delay(options.intervalMs ?? 25);
  }
}

/** Rejects with `name` when `promise` takes longer than `deadlineMs`. */
export async function within<Value>(
  name: string,
  deadlineMs: number,
  promise: Promise<Value>,
): Promise<Value> {
  const abort = new AbortController();
  const timeout = delay(deadlineMs, undefined, { signal: abort.signal, ref: false }).then(() => {
    throw new Error(`${name} took longer than ${deadlineMs} ms`);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    abort.abort();
    timeout.catch(() => undefined);
  }
}
