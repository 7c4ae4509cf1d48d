import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { findClusterProcesses, signalProcess } from '#runtime/postgres/cluster-processes.ts';
import { Connection, type DatabaseTarget } from '#runtime/postgres/connection.ts';
import { EmbeddedPostgres } from '#runtime/postgres/embedded-postgres.ts';
import { listPostgresBinaries, type PostgresBinaries } from '#runtime/postgres/postgres-binaries.ts';
import { planRunAs } from '#runtime/postgres/run-as.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

const logger = createLogger('test', 'silent');
const installed = listPostgresBinaries();
const isRoot = process.geteuid?.() === 0;
const NOBODY = 65_534;
/** What root has in a container that was started without options: no DAC_READ_SEARCH, no SYS_PTRACE. */
const CONTAINER_CAPABILITIES =
  '-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,' +
  '+sys_chroot,+mknod,+audit_write,+setfcap';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) await cleanup();
});

function temporaryFolder(mode = 0o755): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'livehls-pg-')));
  chmodSync(folder, mode);
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function start(folder: string, binaries?: PostgresBinaries): Promise<EmbeddedPostgres> {
  const metrics = createMetrics('test');
  const server = await EmbeddedPostgres.start(
    { folder, ...(binaries === undefined ? {} : { binaries }) },
    { clock: systemClock, logger, metrics },
  );
  cleanups.push(() => server.close());
  return server;
}

async function ask<Value>(
  target: DatabaseTarget,
  work: (connection: Connection) => Promise<Value>,
): Promise<Value> {
  const connection = new Connection(target, logger);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

/** Writes a word durably and tells all the words that are there. */
const remember = (target: DatabaseTarget, word: string): Promise<string[]> =>
  ask(target, async (connection) => {
    await connection.sql`create table if not exists words (word text)`;
    await connection.sql`insert into words values (${word})`;
    const rows = await connection.sql<{ word: string }>`select word from words order by word`;
    return rows.map((row) => row.word);
  });

type FixtureSays = { pid?: number; target?: DatabaseTarget; error?: string };

/** Starts the server from another process, so that the process can be killed or be another user's. */
async function startElsewhere(
  folder: string,
  user: { uid?: number; gid?: number } = {},
  wrapper: readonly string[] = [],
): Promise<FixtureSays & { process: ChildProcess }> {
  const script = fileURLToPath(new URL('embedded-postgres.fixture.ts', import.meta.url));
  const [wrapperFile, ...wrapperArgs] = wrapper;
  const args = wrapperFile === undefined ? [] : [...wrapperArgs, process.execPath];
  const child = spawn(wrapperFile ?? process.execPath, [...args, script, folder], {
    ...user,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cleanups.push(async () => {
    child.stdin.end();
    if (child.exitCode === null && child.signalCode === null)
      await within('the end of the other process', 10_000, once(child, 'exit'));
  });
  const [line] = (await within(
    'word from the other process',
    30_000,
    once(createInterface({ input: child.stdout }), 'line'),
  )) as [string];
  return { ...(JSON.parse(line) as FixtureSays), process: child };
}

it.skipIf(installed.length === 0)('this machine has a PostgreSQL to test with', () => {
  expect(installed[0]?.major).toBeGreaterThanOrEqual(15);
});

describe.each(installed)('embedded PostgreSQL $major from $source', (binaries) => {
  it('keeps what was written over a stop and a start', async () => {
    const folder = join(temporaryFolder(), 'data', 'postgres');
    const first = await start(folder, binaries);
    await remember(first.target, 'before');
    await within('the stop', 5_000, first.close());
    expect(findClusterProcesses(join(folder, 'cluster'))).toEqual([]);
    const second = await start(folder, binaries);
    expect(await remember(second.target, 'since')).toEqual(['before', 'since']);
  });

  it('comes back by itself after kill -9 of the server', async () => {
    const folder = temporaryFolder();
    const server = await start(folder, binaries);
    await remember(server.target, 'before');
    const killed = server.pid ?? 0;
    process.kill(killed, 'SIGKILL');
    await waitFor('another server', () => server.pid !== undefined && server.pid !== killed);
    const words = await waitFor('an answer', () => remember(server.target, 'since').catch(() => undefined));
    expect(words).toContain('before');
  });

  it('keeps on starting a server that dies again and again', async () => {
    const folder = temporaryFolder();
    const server = await start(folder, binaries);
    for (let round = 0; round < 3; round++) {
      const pid = await waitFor('a server', () => server.pid);
      process.kill(pid, 'SIGKILL');
      await waitFor('its end', () => server.pid !== pid);
    }
    const words = await waitFor('an answer', () => remember(server.target, 'up').catch(() => undefined));
    expect(words).toEqual(['up']);
  });

  it('listens on no port, and lets only its owner at the socket', async () => {
    const folder = temporaryFolder();
    const server = await start(folder, binaries);
    const [settings] = await ask(
      server.target,
      (connection) => connection.sql<{ listen: string; fsync: string }>`
        select current_setting('listen_addresses') as listen, current_setting('fsync') as fsync`,
    );
    expect(settings).toEqual({ listen: '', fsync: 'on' });
    expect(statSync(join(folder, 'cluster')).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, 'cluster', '.s.PGSQL.5432')).mode & 0o077).toBe(0);
  });

  it('gives the server none of our environment', async () => {
    process.env['LIVE_TEST_SECRET'] = 'not for children';
    cleanups.push(() => void delete process.env['LIVE_TEST_SECRET']);
    const server = await start(temporaryFolder(), binaries);
    expect(readFileSync(`/proc/${server.pid}/environ`, 'utf8')).not.toContain('not for children');
  });

  it('works in a folder whose path is too long for a socket', async () => {
    const folder = join(temporaryFolder(), 'a'.repeat(90), 'b'.repeat(90));
    const server = await start(folder, binaries);
    expect(await remember(server.target, 'deep')).toEqual(['deep']);
  });
});

describe.skipIf(installed.length === 0)('a folder that somebody else uses or left', () => {
  it('refuses a folder that a running process uses', async () => {
    const folder = temporaryFolder();
    await start(folder);
    await expect(start(folder)).rejects.toMatchObject({ code: 'data_folder_busy' });
    expect((await startElsewhere(folder)).error).toContain('which is running');
  });

  it('takes over at once after kill -9 of the process that had it', async () => {
    const folder = temporaryFolder();
    const elsewhere = await startElsewhere(folder);
    await remember(elsewhere.target as DatabaseTarget, 'before');
    elsewhere.process.kill('SIGKILL');
    await once(elsewhere.process, 'exit');
    const server = await start(folder);
    expect(await remember(server.target, 'since')).toEqual(['before', 'since']);
  });

  it('leaves no server behind after kill -9 of the process that had it', async () => {
    const folder = temporaryFolder();
    const elsewhere = await startElsewhere(folder);
    elsewhere.process.kill('SIGKILL');
    const left = await waitFor('every server process to be gone', () => {
      const pids = findClusterProcesses(join(folder, 'cluster'));
      return pids.length === 0 ? pids : undefined;
    });
    expect(left).toEqual([]);
  });

  it('stops a server that nobody has any more', async () => {
    const folder = temporaryFolder();
    const first = await start(folder);
    await remember(first.target, 'before');
    await first.close();
    const clusterDir = join(folder, 'cluster');
    // As the command would be where there is no setpriv: nothing ends the server with its parent.
    const binaries = installed[0];
    if (binaries === undefined) throw new Error('no PostgreSQL');
    const { identity } = planRunAs({ ownerOf: clusterDir, reach: [] });
    chmodSync(folder, 0o755);
    const orphan = spawn(
      join(binaries.binDir, 'postgres'),
      ['-D', clusterDir, '-k', '.', '-c', 'listen_addresses='],
      { ...identity, cwd: '/', env: { LC_ALL: 'C' }, stdio: 'ignore', detached: true },
    );
    await waitFor('the orphan', () => findClusterProcesses(clusterDir).length > 3);
    const server = await start(folder);
    expect(signalProcess(orphan.pid ?? 0, 0)).toBe(false);
    expect(await remember(server.target, 'since')).toEqual(['before', 'since']);
  });

  it('does not take a stranger with the pid of the old server for a server', async () => {
    const folder = temporaryFolder();
    const first = await start(folder);
    const pidFile = readFileSync(join(folder, 'cluster', 'postmaster.pid'), 'utf8');
    await first.close();
    writeFileSync(join(folder, 'cluster', 'postmaster.pid'), pidFile.replace(/^\d+/, String(process.ppid)));
    const server = await start(folder);
    expect(await remember(server.target, 'here')).toEqual(['here']);
  });

  it('begins anew when the first start was killed while it made the cluster', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'cluster.new', 'base'), { recursive: true });
    writeFileSync(join(folder, 'cluster.new', 'PG_VERSION'), '1\n');
    const server = await start(folder);
    expect(await remember(server.target, 'here')).toEqual(['here']);
  });

  it.runIf(installed.length > 1)('is opened by the PostgreSQL that made it, not by a newer one', async () => {
    const folder = temporaryFolder();
    const older = installed.at(-1);
    await (await start(folder, older)).close();
    const [row] = await ask(
      (await start(folder)).target,
      (connection) => connection.sql<{ major: number }>`
        select current_setting('server_version_num')::int / 10000 as major`,
    );
    expect(row?.major).toBe(older?.major);
  });

  it('refuses the cluster of another major version', async () => {
    const folder = temporaryFolder();
    await (await start(folder)).close();
    writeFileSync(join(folder, 'cluster', 'PG_VERSION'), '9\n');
    await expect(start(folder)).rejects.toMatchObject({
      code: 'postgres_version_mismatch',
      message: expect.stringContaining('was written by PostgreSQL 9') as string,
    });
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  });

  it('says what the server said when it does not come up', async () => {
    const folder = temporaryFolder();
    await (await start(folder)).close();
    writeFileSync(join(folder, 'cluster', 'postgresql.conf'), 'no_such_setting = 1\n');
    await expect(start(folder)).rejects.toMatchObject({
      code: 'postgres_start_failed',
      message: expect.stringContaining('no_such_setting') as string,
    });
  });
});

describe.skipIf(installed.length === 0)('as which user', () => {
  it.runIf(isRoot)('as root, the server runs as nobody', async () => {
    const server = await start(temporaryFolder());
    expect(statSync(`/proc/${server.pid}`).uid).toBe(NOBODY);
  });

  it.runIf(isRoot)('as root, the folder is closed to other programs of nobody', async () => {
    const folder = temporaryFolder();
    await start(folder);
    expect(statSync(folder)).toMatchObject({ uid: 0 });
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it.runIf(isRoot)('as root, in a folder below one that only root may enter', async () => {
    const closed = temporaryFolder(0o700);
    const server = await start(join(closed, 'checkout', 'data', 'postgres'));
    expect(await remember(server.target, 'here')).toEqual(['here']);
    expect(statSync(`/proc/${server.pid}`).uid).toBe(NOBODY);
  });

  it.runIf(isRoot)('as root, from npm packages below a folder that only root may enter', async () => {
    const npm = installed.find(({ source }) => source === 'npm');
    if (npm === undefined) return;
    const closed = temporaryFolder(0o700);
    cpSync(dirname(dirname(npm.binDir)), join(closed, 'package'), {
      recursive: true,
      verbatimSymlinks: true,
    });
    const binaries = { ...npm, binDir: join(closed, 'package', 'native', 'bin') };
    const server = await start(join(closed, 'data'), binaries);
    expect(await remember(server.target, 'here')).toEqual(['here']);
  });

  it('from npm packages whose install scripts were not run', async (context) => {
    const npm = installed.find(({ source }) => source === 'npm');
    if (npm === undefined) return context.skip('the npm package is not installed');
    const copy = join(temporaryFolder(), 'package');
    cpSync(dirname(dirname(npm.binDir)), copy, {
      recursive: true,
      filter: (path) => !lstatSync(path).isSymbolicLink(),
    });
    const server = await start(join(copy, '..', 'data'), { ...npm, binDir: join(copy, 'native', 'bin') });
    expect(await remember(server.target, 'here')).toEqual(['here']);
  });

  it.runIf(isRoot)('as root, in a folder of an ordinary user, as that user', async () => {
    const folder = temporaryFolder();
    chownSync(folder, 1, 1);
    const server = await start(join(folder, 'data'));
    expect(statSync(`/proc/${server.pid}`).uid).toBe(1);
    expect(statSync(join(folder, 'data')).uid).toBe(1);
  });

  it.runIf(isRoot).each([
    ['an open folder', 0o755],
    ['a folder below one that only root may enter', 0o700],
  ])('as root with the capabilities of a plain container, in %s', async (_, mode) => {
    const folder = join(temporaryFolder(mode), 'data');
    const elsewhere = await startElsewhere(folder, {}, ['setpriv', '--bounding-set', CONTAINER_CAPABILITIES]);
    expect(elsewhere.error).toBeUndefined();
    expect(await remember(elsewhere.target as DatabaseTarget, 'before')).toEqual(['before']);
    elsewhere.process.kill('SIGKILL');
    await once(elsewhere.process, 'exit');
    const again = await startElsewhere(folder, {}, ['setpriv', '--bounding-set', CONTAINER_CAPABILITIES]);
    expect(await remember(again.target as DatabaseTarget, 'since')).toEqual(['before', 'since']);
  });

  it.runIf(isRoot)('as an ordinary user', async (context) => {
    const folder = temporaryFolder();
    chownSync(folder, NOBODY, NOBODY);
    const elsewhere = await startElsewhere(folder, { uid: NOBODY, gid: NOBODY }).catch(() => undefined);
    if (elsewhere === undefined) return context.skip('an ordinary user cannot reach this checkout');
    expect(elsewhere.error).toBeUndefined();
    expect(statSync(`/proc/${elsewhere.pid}`).uid).toBe(NOBODY);
    expect(await remember(elsewhere.target as DatabaseTarget, 'here')).toEqual(['here']);
  });

  it.runIf(isRoot)('as an ordinary user, refuses the folder of another', async (context) => {
    const folder = temporaryFolder();
    const elsewhere = await startElsewhere(folder, { uid: NOBODY, gid: NOBODY }).catch(() => undefined);
    if (elsewhere === undefined) return context.skip('an ordinary user cannot reach this checkout');
    expect(elsewhere.error).toContain('belongs to uid 0');
  });
});
