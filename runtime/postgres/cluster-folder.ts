import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Logger } from '#runtime/log.ts';
import { linkMissingLibraries, type PostgresBinaries } from '#runtime/postgres/postgres-binaries.ts';
import { PostgresLog } from '#runtime/postgres/postgres-log.ts';
import { planRunAs, readProcessFacts, traversalCapability, type RunAs } from '#runtime/postgres/run-as.ts';

/** The folder is not a cluster that we and these binaries can open, or cannot become one. */
export class ClusterFolderError extends Error {
  override readonly name = 'ClusterFolderError';
  readonly code: 'postgres_version_mismatch' | 'postgres_folder_foreign' | 'postgres_init_failed';

  constructor(code: ClusterFolderError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** A data folder that a server can be started on. */
export type Cluster = {
  /** PostgreSQL's data directory, without symbolic links in it. */
  readonly dir: string;
  readonly runAs: RunAs;
  /** The environment of every PostgreSQL program; nothing of ours, so no secret, is in it. */
  readonly env: NodeJS.ProcessEnv;
};

/** Superuser of the cluster. It has no password: only the cluster's owner and root get to the socket. */
export const CLUSTER_USER = 'livehls';
const INITDB_OPTIONS = [
  '--auth=trust',
  '--encoding=UTF8',
  '--locale=C',
  '--data-checksums',
  '--no-instructions',
];
const INIT_DEADLINE_MS = 60_000;

/**
 * Makes `folder`, with its parents, belong to whoever owns the place it is in and closes it to everybody else.
 *
 * @returns its path without symbolic links
 * @throws {ClusterFolderError} `postgres_folder_foreign` when it belongs to somebody else
 */
export function prepareFolder(folder: string): string {
  const wanted = resolve(folder);
  let existing = wanted;
  while (!existsSync(existing)) existing = dirname(existing);
  const owner = statSync(existing);
  const facts = readProcessFacts();
  if (existing !== wanted) {
    mkdirSync(wanted, { recursive: true, mode: 0o700 });
    if (facts.uid === 0)
      for (let made = wanted; made !== existing; made = dirname(made)) chownSync(made, owner.uid, owner.gid);
  } else if (facts.uid !== 0 && owner.uid !== facts.uid) {
    throw foreign(wanted, owner.uid);
  }
  // A folder of root's is closed even to the server's own user where a capability gives the server its way in: other
  // programs that run as nobody then find neither the data nor the socket.
  const closed = facts.uid !== 0 || owner.uid !== 0 || traversalCapability(facts) === 'dac_read_search';
  chmodSync(wanted, closed ? 0o700 : 0o711);
  return realpathSync(wanted);
}

/**
 * Opens the cluster in a prepared folder, creating it the first time.
 *
 * @throws {ClusterFolderError} when it is another major version's or another user's, or initdb fails
 */
export async function openCluster(
  folder: string,
  binaries: PostgresBinaries,
  logger: Logger,
): Promise<Cluster> {
  const dir = join(folder, 'cluster');
  const exists = existsSync(dir);
  const runAs = planRunAs({ ownerOf: exists ? dir : folder, reach: [binaries.binDir, folder] });
  const libraries = linkMissingLibraries(binaries, join(folder, 'lib'));
  const env = {
    PATH: '/usr/bin:/bin',
    LC_ALL: 'C',
    TZ: 'UTC',
    ...(libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries }),
  };
  const cluster = { dir, runAs, env };
  if (exists) refuseForeign(dir, binaries.major);
  else await createCluster(cluster, folder, binaries, logger);
  return cluster;
}

/** The major version that wrote the cluster in a prepared folder; undefined when there is no cluster yet. */
export function clusterMajor(folder: string): number | undefined {
  const path = join(folder, 'cluster', 'PG_VERSION');
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : undefined;
}

function refuseForeign(dir: string, major: number): void {
  const uid = process.geteuid?.();
  const owner = statSync(dir).uid;
  if (uid !== 0 && owner !== uid) throw foreign(dir, owner);
  const version = readFileSync(join(dir, 'PG_VERSION'), 'utf8').trim();
  if (version !== String(major))
    throw new ClusterFolderError(
      'postgres_version_mismatch',
      `${dir} was written by PostgreSQL ${version}, and the one at hand is ${major}: dump and restore it with ` +
        `PostgreSQL ${version}, or move the folder away to begin anew`,
    );
}

function foreign(path: string, uid: number): ClusterFolderError {
  return new ClusterFolderError(
    'postgres_folder_foreign',
    `${path} belongs to uid ${uid}: start as that user or as root, or choose another data folder`,
  );
}

/** initdb works beside the final place, so that one that was killed half-way leaves no half cluster. */
async function createCluster(
  cluster: Cluster,
  folder: string,
  binaries: PostgresBinaries,
  logger: Logger,
): Promise<void> {
  const half = join(folder, 'cluster.new');
  rmSync(half, { recursive: true, force: true });
  mkdirSync(half, { mode: 0o700 });
  const { identity } = cluster.runAs;
  if (identity !== undefined) chownSync(half, identity.uid, identity.gid);
  const { file, args, user } = cluster.runAs.command(join(binaries.binDir, 'initdb'), [
    `--pgdata=${half}`,
    `--username=${CLUSTER_USER}`,
    ...INITDB_OPTIONS,
  ]);
  const child = spawn(file, args, {
    ...user,
    cwd: '/',
    env: cluster.env,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: INIT_DEADLINE_MS,
    killSignal: 'SIGKILL',
  });
  const log = new PostgresLog(child.stderr, logger);
  const [status] = (await once(child, 'close')) as [number | null];
  if (status !== 0)
    throw new ClusterFolderError(
      'postgres_init_failed',
      `initdb could not make ${half} (status ${status ?? 'killed'}):\n${log.text}`,
    );
  renameSync(half, cluster.dir);
}
