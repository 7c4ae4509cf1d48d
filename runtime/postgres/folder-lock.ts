import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { readProcessStart } from '#runtime/postgres/cluster-processes.ts';

/** The folder belongs to a process that is still running. */
export class FolderBusyError extends Error {
  readonly code = 'data_folder_busy';
  override readonly name = 'FolderBusyError';
}

const TAKEOVERS_MAX = 5;

/** The exclusive use of a folder by this process, until {@link release}d or the process is gone. */
export class FolderLock {
  readonly #path: string;
  readonly #content: string;

  private constructor(path: string, content: string) {
    this.#path = path;
    this.#content = content;
  }

  /**
   * Takes the lock file at `path`. One that a process left behind when it was killed is taken over; the file names its
   * process by pid and start time, so a pid in new hands does not count.
   *
   * @throws {FolderBusyError} naming the process that has it, which may be this one
   */
  static acquire(path: string): FolderLock {
    const content = `${process.pid} ${readProcessStart(process.pid) ?? ''} ${randomUUID()}\n`;
    for (let attempt = 0; attempt < TAKEOVERS_MAX; attempt++) {
      try {
        writeFileSync(path, content, { flag: 'wx', mode: 0o600 });
        return new FolderLock(path, content);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      removeStale(path);
    }
    throw new FolderBusyError(`${path} changes hands all the time; start one process at a time`);
  }

  /** Gives the folder back; harmless when somebody else has it by now. */
  release(): void {
    if (readLock(this.#path) === this.#content) unlinkSync(this.#path);
  }
}

function removeStale(path: string): void {
  const seen = readLock(path);
  if (seen === undefined) return;
  refuseIfAlive(path, seen);
  // Two processes may find the same stale file. A rename has one winner, and the winner looks again at what it got.
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const got = readLock(aside);
  if (got !== seen) linkSync(aside, path);
  unlinkSync(aside);
  if (got !== undefined) refuseIfAlive(path, got);
}

function refuseIfAlive(path: string, content: string): void {
  const [pid, start] = content.split(' ');
  const running = readProcessStart(Number(pid));
  if (running !== undefined && running === start)
    throw new FolderBusyError(
      `${path} belongs to process ${pid}, which is running: stop it, or give this one another data folder`,
    );
}

function readLock(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
