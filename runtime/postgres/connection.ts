import postgres from 'postgres';
import type { Logger } from '#runtime/log.ts';
import { DatabaseUnavailableError, isServerError } from '#runtime/postgres/database-errors.ts';

/** Where a database is: a server's URL, or the socket of the embedded one. */
export type DatabaseTarget =
  { readonly url: string } | { readonly path: string; readonly user: string; readonly database: string };

/** What a statement takes as a parameter. Objects and arrays go to `json`/`jsonb` parameters only. */
export type SqlValue =
  | string
  | number
  | boolean
  | bigint
  | Date
  | Uint8Array
  | null
  | readonly unknown[]
  | Readonly<Record<string, unknown>>;

/**
 * Runs one statement: the template's values become its parameters, nothing is ever pasted into the text. `int8` comes
 * back as a number, `timestamptz` as a Date, `bytea` as a Buffer.
 */
export type Sql = <Row extends object = Record<string, unknown>>(
  text: TemplateStringsArray,
  ...values: SqlValue[]
) => Promise<Row[]>;

const CONNECT_TIMEOUT_S = 4;
/** Below the deadline of an operation: a slow statement fails by itself, so a missed deadline means a dead server. */
export const STATEMENT_TIMEOUT_MS = 4_000;
const LOCK_TIMEOUT_MS = 3_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

const int8AsNumber = {
  to: 20,
  from: [20],
  serialize: (value: number | bigint) => String(value),
  parse: (text: string) => Number(text),
};

/**
 * One connection to the database, over the `postgres` package with a pool of one. Used up by the first failure that is
 * not the server's answer: the package's own ways to go on after a lost connection end in an uncaught exception, a hung
 * query or statements outside their transaction (its issues 1208, 1133, 1216), so here none of them is ever taken.
 */
export class Connection {
  readonly #client: postgres.Sql<{ bigint: number }>;
  readonly #rejections = new Set<(error: DatabaseUnavailableError) => void>();
  #usable = true;

  constructor(target: DatabaseTarget, logger: Logger) {
    const options = {
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connect_timeout: CONNECT_TIMEOUT_S,
      prepare: false,
      fetch_types: false,
      types: { bigint: int8AsNumber },
      onnotice: (notice: postgres.Notice) => logger.debug({ notice: notice['message'] }, 'database notice'),
      onclose: () => this.#retire(),
      connection: {
        application_name: 'livehls',
        statement_timeout: STATEMENT_TIMEOUT_MS,
        lock_timeout: LOCK_TIMEOUT_MS,
        idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      },
    };
    this.#client = 'url' in target ? postgres(target.url, options) : postgres({ ...options, ...target });
  }

  /** False once the connection was lost or closed; it never becomes usable again. */
  get usable(): boolean {
    return this.#usable;
  }

  /** Runs one statement; connects first when it is the first. */
  readonly sql: Sql = (text, ...values) =>
    this.#guard(() => this.#client(text, ...(values as postgres.ParameterOrFragment<never>[])));

  /** Runs a text of several statements without parameters, for migrations. */
  readonly script = (text: string): Promise<unknown> => this.#guard(() => this.#client.unsafe(text).simple());

  /** Cuts the connection at once; what is under way fails. */
  discard(): void {
    this.#retire();
    this.#client.end({ timeout: 0 }).catch(() => undefined);
  }

  /** Ends it politely; for one that has nothing under way. */
  async close(): Promise<void> {
    this.#retire();
    await this.#client.end({ timeout: 1 });
  }

  #retire(): void {
    this.#usable = false;
    for (const reject of this.#rejections) reject(lost());
    this.#rejections.clear();
  }

  /** No statement is given to a lost connection, and none that was waits for an answer that cannot come. */
  #guard<Value>(run: () => PromiseLike<Value>): Promise<Value> {
    if (!this.#usable) return Promise.reject(lost());
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    this.#rejections.add(reject);
    run().then(
      (value) => {
        this.#rejections.delete(reject);
        resolve(value);
      },
      (error: unknown) => {
        this.#rejections.delete(reject);
        if (!isServerError(error)) this.#retire();
        reject(
          isServerError(error)
            ? error
            : new DatabaseUnavailableError('down', 'the database cannot be reached', error),
        );
      },
    );
    return promise;
  }
}

function lost(): DatabaseUnavailableError {
  return new DatabaseUnavailableError('down', 'the connection to the database was lost');
}
