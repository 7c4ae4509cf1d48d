import type { Disposable } from '#runtime/lifecycle.ts';
import { setTimeout as delay } from 'node:timers/promises';
import type { DatabaseTarget } from '#runtime/postgres/connection.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import { Database, type DatabaseDeps, type DatabaseSettings } from '#runtime/postgres/database.ts';
import { EmbeddedPostgres } from '#runtime/postgres/embedded-postgres.ts';

/** A server elsewhere, or a folder for one of our own. */
export type DatabasePlace = { readonly url: string } | { readonly folder: string };

/** A database that answers, together with the server behind it when that is ours. */
export type OpenDatabase = Disposable & {
  readonly database: Database;
  /** undefined when the server is not ours. */
  readonly embedded: EmbeddedPostgres | undefined;
};

/** How long a start waits for a server that is still coming up itself. */
const REACH_DEADLINE_MS = 30_000;
const REACH_RETRY_MS = 250;

/**
 * Opens the database of a service, starting an embedded server when no URL is given.
 *
 * @throws {DatabaseUnavailableError} no answer within 30 s; and what {@link EmbeddedPostgres.start} throws
 */
export async function openDatabase(
  place: DatabasePlace,
  settings: DatabaseSettings,
  deps: DatabaseDeps,
): Promise<OpenDatabase> {
  const embedded =
    'folder' in place ? await EmbeddedPostgres.start({ folder: place.folder }, deps) : undefined;
  const target: DatabaseTarget = embedded?.target ?? (place as { url: string });
  const database = new Database(target, settings, deps);
  const close = async (): Promise<void> => {
    await database.close();
    await embedded?.close();
  };
  try {
    await reach(database);
  } catch (error) {
    await close();
    throw error;
  }
  return { database, embedded, close };
}

async function reach(database: Database): Promise<void> {
  const endMs = performance.now() + REACH_DEADLINE_MS;
  for (;;) {
    try {
      await database.run(({ sql }) => sql`select 1`);
      return;
    } catch (error) {
      if (!(error instanceof DatabaseUnavailableError)) throw error;
      if (performance.now() > endMs)
        throw new DatabaseUnavailableError(
          'down',
          `PostgreSQL does not answer (${describe(error)}); check DATABASE_URL and that the server runs`,
          error,
        );
    }
    await delay(REACH_RETRY_MS);
  }
}

/** The innermost reason: the wrappers around it say nothing that helps a person. */
function describe(error: Error): string {
  return error.cause instanceof Error ? describe(error.cause) : error.message;
}
