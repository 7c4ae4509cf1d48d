import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Logger } from '#runtime/log.ts';
import { AccessToken } from '#steering/registry/access-token.ts';
import { Cdn } from '#steering/registry/cdn.ts';
import { PlannedChange } from '#steering/registry/planned-change.ts';

/** What a node remembers of the registry. */
export const RegistryState = z.object({
  generation: z.int().min(0),
  revision: z.int().min(0),
  cdns: z.array(Cdn),
  accessTokens: z.array(AccessToken),
  plannedChanges: z.array(PlannedChange),
});
export type RegistryState = z.infer<typeof RegistryState>;

const LastKnown = z.object({
  version: z.literal(1),
  savedAtMs: z.number(),
  registry: RegistryState,
  /** Health factors by CDN from when not everything failed. */
  heldHealth: z.record(z.string(), z.number().min(0).max(1)),
});
export type LastKnown = z.infer<typeof LastKnown>;

const FILE = 'steering-last-known.json';

/**
 * The last known state on disk, for a node that starts while PostgreSQL is away. Holds hashes of tokens and no secrets;
 * readable by its owner only all the same.
 */
export class LastKnownFile {
  readonly #folder: string;
  readonly #logger: Logger;
  #writing: Promise<void> = Promise.resolve();
  #waiting: LastKnown | undefined;

  constructor(folder: string, deps: { readonly logger: Logger }) {
    this.#folder = folder;
    this.#logger = deps.logger;
  }

  /** What was saved last; undefined when there is nothing, or nothing that this program can read. */
  async read(): Promise<LastKnown | undefined> {
    try {
      return LastKnown.parse(JSON.parse(await readFile(path.join(this.#folder, FILE), 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#logger.warn({ err: error }, 'the last known state cannot be read, starting without it');
      return undefined;
    }
  }

  /**
   * Saves a state, replacing the file as a whole. Calls that come while one is being written are merged into one more.
   * A disk that is full is logged and changes nothing else.
   */
  save(state: Omit<LastKnown, 'version' | 'savedAtMs'>, nowMs: number): Promise<void> {
    const queued = this.#waiting !== undefined;
    this.#waiting = { ...state, version: 1, savedAtMs: nowMs };
    if (!queued) this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    const state = this.#waiting;
    this.#waiting = undefined;
    const temporary = path.join(this.#folder, `${FILE}.${process.pid}.tmp`);
    try {
      await mkdir(this.#folder, { recursive: true });
      await writeFile(temporary, JSON.stringify(state), { mode: 0o600, flush: true });
      await rename(temporary, path.join(this.#folder, FILE));
    } catch (error) {
      this.#logger.error({ err: error }, 'the last known state could not be saved');
    }
  }
}
