import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MEASURED_NODE, startServer, type ServerProcess } from '#bench/origin/server-process.ts';

export type MeasuredOrigin = ServerProcess & { readonly adminToken: string; readonly ingestToken: string };

const MAIN = fileURLToPath(new URL('../../origin/main.ts', import.meta.url));

/** Starts an origin with a new data folder on one core. Its database is not counted: no request here needs it. */
export async function startOrigin(
  core: number,
  env: Readonly<Record<string, string>> = {},
): Promise<MeasuredOrigin> {
  const dataDir = await mkdtemp(join(tmpdir(), 'bench-origin-'));
  const tokens = { adminToken: 'admin-token-of-the-bench', ingestToken: 'ingest-token-of-the-bench' };
  const server = await startServer({
    name: 'origin',
    core,
    command: [...MEASURED_NODE, MAIN],
    env: {
      ADMIN_TOKEN: tokens.adminToken,
      INGEST_TOKEN: tokens.ingestToken,
      ORIGIN_PORT: '0',
      ORIGIN_HOST: '127.0.0.1',
      ORIGIN_PLAYER: 'no',
      DATA_DIR: dataDir,
      LOG_LEVEL: 'info',
      ...env,
    },
    ready: /"url":"http:[^"]+:(\d+)".*"origin is ready"/,
    counts: (commandLine) => commandLine.includes('origin/'),
  });
  return {
    ...server,
    ...tokens,
    stop: async () => {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
