import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { prepareCdn, runCdn, type CdnProcess } from '#cdn/cdn-process.ts';
import type { CdnKind, CdnOptions } from '#cdn/cdn-program.ts';

/** A real cache between players and an origin, with the configuration that the repo ships, that can be killed and paused. */
export type LocalCdn = {
  readonly kind: CdnKind;
  readonly url: string;
  readonly port: number;
  /** Stops every process of it without warning; connections get ECONNREFUSED from then on. */
  kill(): Promise<void>;
  /** Starts it again on the same port with a cold cache; a no-op while it runs. */
  start(): Promise<void>;
  /** Stops (SIGSTOP) or continues (SIGCONT) all of its processes: a CDN that hangs. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  close(): Promise<void>;
};

/** How the cache is set up. */
export type LocalCdnOptions = Pick<CdnOptions, 'workers' | 'withoutLua' | 'holdMaxS' | 'pullToken'> & {
  /** Base URL of the origin, `http://127.0.0.1:port`. */
  readonly originUrl: string;
  /** Those to ask when that one cannot be reached. */
  readonly otherOriginUrls?: readonly string[];
  /**
   * nginx: the usual LL-HLS misconfiguration, `_HLS_*` missing in the cache key and lifetimes of its own instead of the
   * origin's. It answers 200 with a playlist that no longer moves.
   */
  readonly frozen?: boolean;
};

/**
 * Starts a cache in front of an origin, in a folder of its own, on a free port of the loopback.
 *
 * @throws {CdnStartError} when its program is missing or does not answer
 */
export async function startLocalCdn(kind: CdnKind, options: LocalCdnOptions): Promise<LocalCdn> {
  const folder = await mkdtemp(path.join(tmpdir(), `${kind}-cdn-`));
  const port = await freePort();
  const { originUrl, otherOriginUrls = [], frozen = false, ...rest } = options;
  let running: CdnProcess | undefined;

  const signalAll = async (signal: NodeJS.Signals): Promise<void> => {
    if (running === undefined) return;
    for (const pid of [running.pid, ...(await descendantsOf(running.pid))]) signalOne(pid, signal);
  };
  const kill = async (): Promise<void> => {
    const dying = running;
    if (dying === undefined) return;
    running = undefined;
    const below = await descendantsOf(dying.pid);
    // The first process first, so that it does not start another anew.
    for (const pid of [dying.pid, ...below]) signalOne(pid, 'SIGKILL');
    await dying.ended;
  };
  const start = async (): Promise<void> => {
    if (running !== undefined) return;
    await rm(path.join(folder, 'work'), { recursive: true, force: true });
    const own = path.join(folder, `start-${performance.now().toFixed()}`);
    const full = {
      ...rest,
      originUrls: [originUrl, ...otherOriginUrls],
      host: '127.0.0.1',
      port,
      folder: own,
    };
    const command = await prepareCdn(kind, frozen ? { ...full, withoutLua: true } : full);
    if (frozen) await freezeNginx(path.join(own, 'nginx.conf'));
    running = await runCdn(kind, full, command);
  };

  try {
    await start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    kind,
    url: `http://127.0.0.1:${port}`,
    port,
    kill,
    start,
    pause: () => signalAll('SIGSTOP'),
    resume: () => signalAll('SIGCONT'),
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

async function freezeNginx(file: string): Promise<void> {
  const good = await readFile(file, 'utf8');
  const bad = good
    .replace('proxy_cache_key $object_path$object_query;', 'proxy_cache_key $object_path;')
    .replace('proxy_cache_valid any 0;', 'proxy_cache_valid 200 1h;')
    .replace('proxy_ignore_headers Vary', 'proxy_ignore_headers Cache-Control Expires Vary');
  if (bad === good) throw new Error('nginx.conf has nothing to freeze');
  await writeFile(file, bad);
}

function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function descendantsOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const children = text.split(' ').filter(Boolean).map(Number);
  const below = await Promise.all(children.map(descendantsOf));
  return [...children, ...below.flat()];
}

/** A port that nothing listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
