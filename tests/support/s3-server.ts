import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { S3Settings } from '#runtime/objects/s3-object-store.ts';
import { waitFor } from './wait-for.ts';

/** A real S3 server in a process of its own (miniflare's R2), whose objects outlive a kill. */
export type TestS3 = {
  readonly settings: S3Settings;
  /** As an origin's environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Lets it hang, or go on. */
  pause(): void;
  resume(): void;
  /** Kills it without warning. */
  kill(): Promise<void>;
  /** Starts it again with what it had. */
  start(): Promise<void>;
  close(): Promise<void>;
};

const SERVER = fileURLToPath(new URL('s3-server-process.ts', import.meta.url));

/** Starts a server with one empty bucket. */
export async function startS3(): Promise<TestS3> {
  const folder = await mkdtemp(path.join(tmpdir(), 's3-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    if (child !== undefined) return;
    // Its own process group: the server's engine is a child of it that has to go with it.
    child = spawn(process.execPath, [SERVER, String(port), folder], { stdio: 'ignore', detached: true });
    await waitFor(
      'the S3 server to answer',
      async () => {
        const response = await fetch(`http://127.0.0.1:${port}/`);
        await response.body?.cancel();
        return true;
      },
      { deadlineMs: 20_000 },
    );
  };
  const signal = (name: NodeJS.Signals): void => {
    if (child?.pid !== undefined) process.kill(-child.pid, name);
  };
  const kill = async (): Promise<void> => {
    const dying = child;
    if (dying === undefined || dying.exitCode !== null) return;
    const gone = once(dying, 'exit');
    signal('SIGKILL');
    child = undefined;
    await gone;
  };
  await start();
  const settings = {
    endpoint: `http://127.0.0.1:${port}/cdn-cgi/local/r2/s3`,
    bucket: 'segments',
    region: 'us-east-1',
    accessKeyId: 'key-of-the-tests',
    secretAccessKey: 'secret-of-the-tests',
  };
  return {
    settings,
    env: {
      S3_ENDPOINT: settings.endpoint,
      S3_BUCKET: settings.bucket,
      S3_REGION: settings.region,
      S3_ACCESS_KEY_ID: settings.accessKeyId,
      S3_SECRET_ACCESS_KEY: settings.secretAccessKey,
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    kill,
    start,
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
