import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import { systemClock, type Clock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { createSteering, type Steering } from '#steering/service.ts';
import { readSteeringSettings, type SteeringSettings } from '#steering/settings.ts';
import { FakeHealth } from '#tests/support/steering-fixtures.ts';

export const ADMIN_TOKEN = 'test-admin-token';
/** One key for all nodes of a test. */
export const TOKEN_KEYS = `1:${Buffer.alloc(32, 7).toString('base64url')}`;

/** A real steering server on a free port, with health that is set by hand. */
export type SteeringNode = {
  readonly steering: Steering;
  readonly health: FakeHealth;
  readonly dataDir: string;
  /** Asks as a player does; `query` without the question mark. */
  ask(streamId: string, query?: string): Promise<SteeringManifest>;
  /** Calls the ops API, as admin unless other headers are given. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Closes the server; the data folder goes too, unless it was given. */
  close(): Promise<void>;
};

export type SteeringNodeOptions = {
  readonly database: Database;
  readonly env?: Readonly<Record<string, string>>;
  readonly dataDir?: string;
  readonly clock?: Clock;
};

export async function startSteeringNode(options: SteeringNodeOptions): Promise<SteeringNode> {
  const dataDir = options.dataDir ?? mkdtempSync(path.join(tmpdir(), 'steering-'));
  const settings: SteeringSettings = readSteeringSettings({
    ADMIN_TOKEN,
    DATA_DIR: dataDir,
    STEERING_PORT: '0',
    STEERING_HOST: '127.0.0.1',
    STEERING_TOKEN_KEYS: TOKEN_KEYS,
    ...options.env,
  });
  const health = new FakeHealth();
  const steering = await createSteering(settings, {
    clock: options.clock ?? systemClock,
    logger: createLogger('steering', 'silent'),
    metrics: createMetrics('steering'),
    database: options.database,
    health,
  });
  return {
    steering,
    health,
    dataDir,
    ask: async (streamId, query = '') => {
      const response = await fetch(
        `${steering.url}/steering/v1/${streamId}${query === '' ? '' : `?${query}`}`,
      );
      if (response.status !== 200) throw new Error(`a player got ${response.status}`);
      return (await response.json()) as SteeringManifest;
    },
    call: (method, target, body, headers = {}) =>
      fetch(`${steering.url}${target}`, {
        method,
        headers: {
          authorization: `Bearer ${ADMIN_TOKEN}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    close: async () => {
      await steering.close();
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** The query of a RELOAD-URI, as a player sends it back. */
export function reloadQuery(manifest: SteeringManifest): string {
  return manifest['RELOAD-URI'].slice(manifest['RELOAD-URI'].indexOf('?') + 1);
}
