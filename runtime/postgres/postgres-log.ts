import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import type { Logger } from '#runtime/log.ts';

const KEPT_LINES_MAX = 20;
const LINE_CHARACTERS_MAX = 500;

/** What the server says goes to the service's log; failed statements are the caller's news, not the server's. */
const LEVELS: Readonly<Record<string, 'debug' | 'warn' | 'error'>> = {
  WARNING: 'warn',
  FATAL: 'warn',
  PANIC: 'error',
};

/** Passes a PostgreSQL child's messages to the log and keeps the last of them for the error of a failed start. */
export class PostgresLog {
  readonly #kept: string[] = [];

  constructor(output: Readable, logger: Logger) {
    createInterface({ input: output }).on('line', (raw) => {
      const line = raw.slice(0, LINE_CHARACTERS_MAX);
      this.#kept.push(line);
      if (this.#kept.length > KEPT_LINES_MAX) this.#kept.shift();
      const severity = /^([A-Z]+):/.exec(line)?.[1] ?? 'LOG';
      logger[LEVELS[severity] ?? 'debug']({ postgres: line }, 'postgres says');
    });
  }

  /** The last lines, newest last. */
  get text(): string {
    return this.#kept.join('\n');
  }
}
