import type { Logger } from '#runtime/log.ts';

/** Something started that must be ended, in the reverse order of starting. */
export type Disposable = {
  /** Ends it; resolves when nothing of it is left (sockets, children, timers). Never rejects for being called twice. */
  close(): Promise<void>;
};

/**
 * Collects what a service has started and closes it in reverse order, so that a start that fails half-way and a normal
 * shutdown take the same path.
 */
export class DisposableStack {
  readonly #entries: { name: string; close: () => Promise<void> | void }[] = [];

  /** Remembers `close` under a name for the log; returns the value it belongs to. */
  add<Value>(name: string, value: Value, close: (value: Value) => Promise<void> | void): Value {
    this.#entries.push({ name, close: () => close(value) });
    return value;
  }

  /** Closes everything, newest first; one that fails is logged and does not keep the others open. */
  async close(logger: Logger): Promise<void> {
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) {
      try {
        await entry.close();
      } catch (error) {
        logger.error({ err: error, part: entry.name }, 'could not close cleanly');
      }
    }
  }
}

/**
 * Starts something made of several parts as a whole: when one of them fails to start, those that did are closed again.
 *
 * @param start adds everything it starts to the stack
 * @throws whatever `start` throws, after the closing
 */
export async function startWhole<Service>(
  logger: Logger,
  start: (started: DisposableStack) => Promise<Service>,
): Promise<Service> {
  const started = new DisposableStack();
  try {
    return await start(started);
  } catch (error) {
    await started.close(logger);
    throw error;
  }
}

/** Longest a shutdown may take before the process is ended the hard way. */
export const SHUTDOWN_DEADLINE_MS = 9_000;

/**
 * Runs a service until SIGINT or SIGTERM, then closes it within {@link SHUTDOWN_DEADLINE_MS}. A failure to start is
 * printed as its message alone when it is an expected one (it has a `code`), and ends the process with status 1.
 */
export async function runUntilSignal(logger: Logger, start: () => Promise<Disposable>): Promise<void> {
  const signalled = new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  let service: Disposable;
  try {
    service = await start();
  } catch (error) {
    const expected = error instanceof Error && 'code' in error;
    process.stderr.write(`${expected ? error.message : (error as Error).stack}\n`);
    process.exitCode = 1;
    return;
  }
  const signal = await signalled;
  logger.info({ signal }, 'shutting down');
  const deadline = setTimeout(() => {
    logger.error({ deadlineMs: SHUTDOWN_DEADLINE_MS }, 'shutdown took too long, leaving the hard way');
    process.exit(1);
  }, SHUTDOWN_DEADLINE_MS);
  deadline.unref();
  await service.close();
  clearTimeout(deadline);
}
