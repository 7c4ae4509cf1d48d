import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import {
  CDN_KINDS,
  PROGRAM_PATH,
  type CdnCommand,
  type CdnKind,
  type CdnOptions,
  type CdnProgram,
} from '#cdn/cdn-program.ts';
import { NGINX } from '#cdn/nginx.ts';
import { TRAFFIC_SERVER } from '#cdn/traffic-server.ts';
import { VARNISH } from '#cdn/varnish.ts';

const PROGRAMS: Readonly<Record<CdnKind, CdnProgram>> = {
  nginx: NGINX,
  varnish: VARNISH,
  trafficserver: TRAFFIC_SERVER,
};

const READY_DEADLINE_MS = 15_000;
const READY_POLL_MS = 25;
const ANSWER_DEADLINE_MS = 1_000;
const STOP_GRACE_MS = 2_000;
const OUTPUT_CHARS_MAX = 8_000;

/** A CDN could not be started: its program is missing, or it says why it does not want to. */
export class CdnStartError extends Error {
  readonly code = 'cdn_start_failed';
  override readonly name = 'CdnStartError';
}

/** A program that is running as a local CDN. */
export type CdnProcess = {
  readonly kind: CdnKind;
  readonly url: string;
  /** Process id of the first of its processes. */
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason, with what it said last. */
  readonly ended: Promise<string>;
  /** Ends it. Requests that are held are cut after 2 s. */
  close(): Promise<void>;
};

/** Whether the program of such a CDN is installed. */
export function isInstalled(kind: CdnKind): boolean {
  const { file } = PROGRAMS[kind];
  return PROGRAM_PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, file), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

/** The kinds of CDN that this machine can run. */
export function installedKinds(): CdnKind[] {
  return CDN_KINDS.filter(isInstalled);
}

/**
 * Writes the configuration of a CDN into its folder, starts it as a child and waits until it answers.
 *
 * @throws {CdnStartError} when its program is missing, ends, or does not answer within 15 s; nothing is left running
 */
export async function startCdn(kind: CdnKind, options: CdnOptions): Promise<CdnProcess> {
  return runCdn(kind, options, await prepareCdn(kind, options));
}

/** Writes the configuration only, for who wants to look at it or change it before {@link runCdn}. */
export async function prepareCdn(kind: CdnKind, options: CdnOptions): Promise<CdnCommand> {
  await mkdir(options.folder, { recursive: true });
  return PROGRAMS[kind].prepare(options);
}

/** Starts a CDN that has been prepared. @throws {CdnStartError} as {@link startCdn} does */
export async function runCdn(
  kind: CdnKind,
  { host, port, folder }: CdnOptions,
  command: CdnCommand,
): Promise<CdnProcess> {
  if (!isInstalled(kind))
    throw new CdnStartError(`${command.file} is not installed; ./setup.sh test installs it`);
  const { child, ended, output } = launch(command);
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const running: CdnProcess = {
    kind,
    url,
    pid: child.pid ?? 0,
    ended,
    close: () => end(child, ended),
  };
  // It listens on all addresses of the machine where the host says so; this one is among them.
  if (await answers(url.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]'), child)) return running;
  await running.close();
  const log = await readFile(join(folder, 'error.log'), 'utf8').catch(() => '');
  throw new CdnStartError(`${kind} did not start on ${url}: ${`${log}${output()}`.slice(-OUTPUT_CHARS_MAX)}`);
}

function launch({ file, args, env }: CdnCommand): {
  child: ChildProcess;
  ended: Promise<string>;
  output: () => string;
} {
  let said = '';
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: PROGRAM_PATH, ...env },
  });
  const hear = (bytes: Buffer): void => {
    said = (said + bytes.toString()).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (status, signal) => resolve(`status ${String(status ?? signal)}: ${said}`));
  });
  return { child, ended, output: () => said };
}

async function answers(url: string, child: ChildProcess): Promise<boolean> {
  const endMs = performance.now() + READY_DEADLINE_MS;
  while (performance.now() < endMs) {
    if (hasEnded(child)) return false;
    try {
      const answer = await fetch(`${url}/cdn-alive`, { signal: AbortSignal.timeout(ANSWER_DEADLINE_MS) });
      await answer.body?.cancel();
      if (answer.status < 500 && !hasEnded(child)) return true;
    } catch (error) {
      // Not there yet; the deadline is this wait's, and its message says what the program wrote.
      if (!(error instanceof Error)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  return false;
}

async function end(child: ChildProcess, ended: Promise<string>): Promise<void> {
  if (hasEnded(child)) return;
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
  await ended;
  clearTimeout(force);
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
