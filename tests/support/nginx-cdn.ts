import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from './wait-for.ts';

/** A real nginx that caches an LL-HLS origin the way a CDN edge would. */
export type NginxCdn = {
  readonly url: string;
  readonly port: number;
  /** Process id of the master, for signals. */
  readonly pid: number;
  /** Stops every process of it without warning; connections get ECONNREFUSED from then on. */
  kill(): Promise<void>;
  /** Starts it again on the same port with a cold cache; a no-op while it runs. */
  start(): Promise<void>;
  /** Stops (SIGSTOP) or continues (SIGCONT) all of its processes: a CDN that hangs. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Lines of the access log: `{status} {cache status} {upstream time} {request line}`. */
  accessLog(): Promise<readonly string[]>;
  close(): Promise<void>;
};

/** How the edge is set up. */
export type NginxCdnOptions = {
  /** Base URL of the origin, `http://127.0.0.1:port`. */
  readonly originUrl: string;
  /**
   * The usual LL-HLS misconfiguration: `_HLS_*` missing in the cache key and lifetimes of its own instead of the
   * origin's. It answers 200 with a playlist that no longer moves.
   */
  readonly frozen?: boolean;
  /** Extra directives for the server block. */
  readonly extra?: string;
};

/**
 * Starts nginx in front of an origin, in a folder of its own, on a free port of the loopback.
 *
 * Good for LL-HLS: concurrent requests for one object reach the origin once (`proxy_cache_lock`), `_HLS_*` are part of
 * the key while other parameters are not, errors are not cached, connections to the origin are kept, held requests may
 * last. Known limit: nginx looks every 500 ms whether a locked object has come, so all but the first of several waiters
 * of one part may get it up to half a second late.
 *
 * @throws when nginx does not answer within 10 s; the message holds its error log
 */
export async function startNginxCdn(options: NginxCdnOptions): Promise<NginxCdn> {
  const folder = await mkdtemp(path.join(tmpdir(), 'nginx-cdn-'));
  const port = await freePort();
  await mkdir(path.join(folder, 'cache'));
  await writeFile(path.join(folder, 'nginx.conf'), configuration(folder, port, options));
  let child: ChildProcess | undefined;

  const signalAll = async (signal: NodeJS.Signals): Promise<void> => {
    if (child?.pid === undefined) return;
    const pids = [...(await childrenOf(child.pid)), child.pid];
    for (const pid of pids) signalOne(pid, signal);
  };
  const kill = async (): Promise<void> => {
    const running = child;
    if (running === undefined) return;
    child = undefined;
    const pids = running.pid === undefined ? [] : await childrenOf(running.pid);
    const exited = new Promise<void>((resolve) => {
      if (running.exitCode !== null || running.signalCode !== null) resolve();
      else running.once('exit', () => resolve());
    });
    // The master first, so that it does not start a worker anew.
    running.kill('SIGKILL');
    for (const pid of pids) signalOne(pid, 'SIGKILL');
    await exited;
  };
  const start = async (): Promise<void> => {
    if (child !== undefined) return;
    child = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', path.join(folder, 'error.log')], {
      stdio: 'ignore',
    });
    child.on('error', () => undefined);
    const starting = child;
    await waitFor('nginx to answer or to leave', async () => {
      if (starting.exitCode !== null) return true;
      const answer = await fetch(`http://127.0.0.1:${port}/nginx-alive`, {
        signal: AbortSignal.timeout(1_000),
      });
      return answer.status === 200;
    });
    if (starting.exitCode === null) return;
    child = undefined;
    const log = await readFile(path.join(folder, 'error.log'), 'utf8').catch(() => '(no error log)');
    throw new Error(`nginx did not start: ${log}`);
  };

  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get pid() {
      return child?.pid ?? 0;
    },
    kill,
    start,
    pause: () => signalAll('SIGSTOP'),
    resume: () => signalAll('SIGCONT'),
    accessLog: async () =>
      (await readFile(path.join(folder, 'access.log'), 'utf8')).split('\n').filter((line) => line !== ''),
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').filter(Boolean).map(Number);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

function configuration(folder: string, port: number, options: NginxCdnOptions): string {
  const { host } = new URL(options.originUrl);
  const caching =
    options.frozen === true
      ? `
      proxy_cache_key $uri;
      proxy_ignore_headers Cache-Control Expires Vary;
      proxy_cache_valid 200 1h;`
      : `
      proxy_cache_key $uri|$arg__HLS_msn|$arg__HLS_part|$arg__HLS_skip;
      proxy_cache_valid 200 1s;`;
  // Started by root, workers would change to an account that cannot enter the folder.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  return `
${user}
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 4096; }
http {
  log_format line '$status $upstream_cache_status $upstream_response_time $request';
  access_log ${folder}/access.log line;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  proxy_cache_path ${folder}/cache levels=1:2 keys_zone=live:8m max_size=512m inactive=2m use_temp_path=off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 75s;
  upstream origin {
    server ${host} max_fails=0;
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${port};
    location = /nginx-alive { access_log off; return 200 "alive"; }
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host ${host};
      proxy_connect_timeout 1s;
      # A held playlist may last three target durations.
      proxy_read_timeout 20s;
      proxy_buffering on;
      proxy_buffers 64 64k;
      proxy_busy_buffers_size 256k;
      proxy_max_temp_file_size 0;
      proxy_cache live;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 20s;
      proxy_cache_lock_age 20s;
      proxy_cache_use_stale off;
      proxy_next_upstream off;${caching}
      proxy_cache_valid any 0;
      add_header Age $upstream_http_age always;
      add_header X-Cache-Status $upstream_cache_status always;
      ${options.extra ?? ''}
    }
  }
}
`;
}
