import postgres from 'postgres';

/**
 * Why an operation could not be done; nothing is wrong with the operation itself. `down`: no connection, or it was lost.
 * `away`: not even tried, the database has not come back yet. `busy`: locks, timeouts, too many operations.
 */
export type UnavailableReason = 'down' | 'away' | 'deadline' | 'busy' | 'closed';

/**
 * The database cannot be reached or does not answer in time. The operation may be tried again; one that failed while
 * it was being committed may have been done.
 */
export class DatabaseUnavailableError extends Error {
  readonly code = 'database_unavailable';
  override readonly name = 'DatabaseUnavailableError';
  readonly reason: UnavailableReason;

  constructor(reason: UnavailableReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.reason = reason;
  }
}

/** SQLSTATEs after which the whole server is taken for down. @see PostgreSQL, appendix A */
const DOWN_STATES = [
  /^08/, // connection exception
  /^28/, // invalid authorization: a wrong password in DATABASE_URL
  /^3D000$/, // no such database
  /^53/, // too many connections, disk or memory full
  /^57P/, // shutting down, crashed, starting up
  /^58/, // I/O error
  /^25006$/, // read-only: a standby that has not been promoted yet
];

/** SQLSTATEs after which another try may do. */
const BUSY_STATES = [
  /^40/, // serialization failure, deadlock
  /^55P03$/, // lock not available in time
  /^57014$/, // cancelled by statement_timeout
  /^25P0[34]$/, // transaction idle or running too long
];

/** Whether the server gave an answer, whatever it says. */
export function isServerError(error: unknown): error is postgres.PostgresError {
  return error instanceof postgres.PostgresError;
}

/** Whether the server said something about the statement itself (a constraint, a syntax error). */
export function isStatementError(error: unknown): error is postgres.PostgresError {
  return isServerError(error) && toUnavailable(error) === undefined;
}

/** The error as a {@link DatabaseUnavailableError} when it speaks of the server; undefined when it does not. */
export function toUnavailable(error: unknown): DatabaseUnavailableError | undefined {
  if (error instanceof DatabaseUnavailableError) return error;
  if (!isServerError(error)) return undefined;
  if (DOWN_STATES.some((state) => state.test(error.code)))
    return new DatabaseUnavailableError('down', `the database refuses: ${error.message}`, error);
  if (BUSY_STATES.some((state) => state.test(error.code)))
    return new DatabaseUnavailableError('busy', `the database is busy: ${error.message}`, error);
  return undefined;
}

/** The name of the violated unique or check constraint; undefined for any other error. */
export function violatedConstraint(error: unknown): string | undefined {
  return isServerError(error) && error.code.startsWith('23') ? error.constraint_name : undefined;
}
