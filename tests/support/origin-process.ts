import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ADMIN_TOKEN, INGEST_TOKEN, OriginUnderTest } from '#origin/testing/origin-under-test.ts';
import { waitFor } from './wait-for.ts';

/** An origin in a process of its own, which can be killed. */
export type OriginProcess = {
  readonly origin: OriginUnderTest;
  /** Kills it without warning; what it kept stays. */
  kill(): Promise<void>;
  /** Ends it as an operator would. */
  stop(): Promise<void>;
};

const MAIN = fileURLToPath(new URL('../../origin/main.ts', import.meta.url));

/** @param env settings beside tokens and ports; DATA_DIR is needed */
export async function startOriginProcess(
  env: Readonly<Record<string, string>> & { readonly DATA_DIR: string },
): Promise<OriginProcess> {
  const child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env['PATH'],
      ADMIN_TOKEN,
      INGEST_TOKEN,
      ORIGIN_PORT: '0',
      ORIGIN_HOST: '127.0.0.1',
      ORIGIN_PLAYER: 'no',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-20_000);
    });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  try {
    const url = await waitFor(
      'the origin to be ready',
      () => {
        if (child.exitCode !== null) throw new Error('it has ended');
        return /"url":"([^"]+)"[^\n]*origin is ready/.exec(output)?.[1];
      },
      { deadlineMs: 40_000 },
    );
    const stop = (): Promise<void> => end('SIGTERM');
    return { origin: OriginUnderTest.attach(url, env.DATA_DIR, stop), kill: () => end('SIGKILL'), stop };
  } catch (error) {
    await end('SIGKILL');
    throw new Error(`${(error as Error).message}\n${output}`, { cause: error });
  }
}
