import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { deleteExpiredApiKeys } from '#origin/registry/api-keys-table.ts';
import { forgetOldAudit } from '#origin/registry/audit-table.ts';
import { forgetOldIdempotency } from '#origin/registry/idempotency-table.ts';
import { deleteExpiredKeys } from '#origin/registry/stream-keys-table.ts';

export type RegistryUpkeepDeps = {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
};

const INTERVAL_MS = 60 * 60 * 1000;

/** Removes once an hour what has expired. */
export class RegistryUpkeep {
  readonly #deps: RegistryUpkeepDeps;
  #timer: Timer | undefined;
  #closed = false;

  constructor(deps: RegistryUpkeepDeps) {
    this.#deps = deps;
    this.#later();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** @throws {DatabaseUnavailableError} */
  async run(): Promise<void> {
    const nowMs = this.#deps.clock.nowMs();
    await this.#deps.database.run(async ({ sql }) => {
      await forgetOldIdempotency(sql, nowMs);
      await deleteExpiredKeys(sql, nowMs);
      await deleteExpiredApiKeys(sql, nowMs);
      await forgetOldAudit(sql, nowMs);
    });
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer = this.#deps.clock.after(INTERVAL_MS, () => {
      this.run()
        .catch((error: unknown) => {
          const expected = error instanceof DatabaseUnavailableError;
          this.#deps.logger[expected ? 'debug' : 'error']({ err: error }, 'registry upkeep was put off');
        })
        .finally(() => this.#later())
        .catch(() => undefined);
    });
  }
}
