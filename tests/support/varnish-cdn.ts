import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from './wait-for.ts';

/** A real Varnish that caches an LL-HLS origin the way a CDN edge would. */
export type VarnishCdn = {
  readonly url: string;
  readonly port: number;
  /** Stops both of its processes without warning; connections get ECONNREFUSED from then on. */
  kill(): Promise<void>;
  /** Starts it again on the same port with a cold cache; a no-op while it runs. */
  start(): Promise<void>;
  /** Stops (SIGSTOP) or continues (SIGCONT) both of its processes: a CDN that hangs. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  close(): Promise<void>;
};

const STDERR_BYTES_MAX = 16_384;

/**
 * Starts Varnish in front of an origin, in a folder of its own, on a free port of the loopback.
 *
 * Concurrent requests for one object reach the origin once, and all waiters get it as soon as it comes. `_HLS_*` are part
 * of the key while other parameters are not; lifetimes are the origin's, without grace; errors are not kept.
 *
 * @param options.originUrl base URL of the origin, `http://127.0.0.1:port`
 * @throws when Varnish does not answer within 10 s; the message holds what it wrote
 */
export async function startVarnishCdn(options: { readonly originUrl: string }): Promise<VarnishCdn> {
  const folder = await mkdtemp(path.join(tmpdir(), 'varnish-cdn-'));
  const port = await freePort();
  await writeFile(path.join(folder, 'edge.vcl'), configuration(options.originUrl));
  let child: ChildProcess | undefined;

  const signalAll = async (signal: NodeJS.Signals): Promise<void> => {
    if (child?.pid === undefined) return;
    for (const pid of [...(await childrenOf(child.pid)), child.pid]) signalOne(pid, signal);
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
    // The manager first, so that it does not start the worker anew.
    running.kill('SIGKILL');
    for (const pid of pids) signalOne(pid, 'SIGKILL');
    await exited;
  };
  const start = async (): Promise<void> => {
    if (child !== undefined) return;
    let stderr = '';
    const starting = spawn('varnishd', varnishArguments(folder, port), {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin` },
    });
    starting.on('error', (error) => {
      stderr += error.message;
    });
    starting.stderr.on('data', (bytes: Buffer) => {
      stderr = (stderr + bytes.toString()).slice(-STDERR_BYTES_MAX);
    });
    child = starting;
    try {
      await waitFor('varnish to answer', async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/varnish-alive`, {
          signal: AbortSignal.timeout(1_000),
        });
        return answer.status === 200;
      });
    } catch (error) {
      await kill();
      throw new Error(`varnish did not start: ${stderr}`, { cause: error });
    }
  };

  try {
    await start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    kill,
    start,
    pause: () => signalAll('SIGSTOP'),
    resume: () => signalAll('SIGCONT'),
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function varnishArguments(folder: string, port: number): string[] {
  return [
    ['-F', '-n', path.join(folder, 'work'), '-f', path.join(folder, 'edge.vcl')],
    ['-a', `127.0.0.1:${port}`, '-T', 'none', '-j', 'none', '-s', 'malloc,64m'],
    ['-p', 'thread_pools=1', '-p', 'thread_pool_min=20', '-p', 'vsl_space=4m'],
  ].flat();
}

function configuration(originUrl: string): string {
  const { hostname, port } = new URL(originUrl);
  return `
vcl 4.1;
import std;
backend origin {
  .host = "${hostname}";
  .port = "${port}";
  .connect_timeout = 1s;
  # A held playlist may last three target durations.
  .first_byte_timeout = 20s;
  .between_bytes_timeout = 20s;
}
sub vcl_recv {
  if (req.url == "/varnish-alive") { return (synth(200)); }
  # What does not choose the answer stays out of the key: everything but _HLS_*.
  set req.url = regsuball(req.url, "([?&])(?!_HLS_)[^?&]*", "\\1");
  set req.url = regsuball(req.url, "&+", "&");
  set req.url = regsub(req.url, "\\?&", "?");
  set req.url = regsub(req.url, "[?&]+$", "");
  set req.url = std.querysort(req.url);
  unset req.http.Cookie;
  if (req.method != "GET" && req.method != "HEAD") { return (pass); }
  return (hash);
}
sub vcl_backend_response {
  set beresp.grace = 0s;
  set beresp.keep = 0s;
  if (beresp.status >= 400) {
    # Only those who wait at this moment share an error.
    set beresp.ttl = 0s;
  }
  return (deliver);
}
`;
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
