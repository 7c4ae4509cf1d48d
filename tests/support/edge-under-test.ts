import { createEdge, type EdgeService } from '#edge-worker/node/service.ts';
import { readEdgeNodeSettings } from '#edge-worker/node/edge-node-settings.ts';
import {
  EMPTY_SNAPSHOT,
  type SnapshotCdn,
  type SteeringSnapshot,
} from '#protocol/steering/steering-snapshot.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { startStubServer, type StubServer } from '#tests/support/stub-server.ts';

/** One key for edge and steering. */
export const EDGE_TOKEN_KEYS = `1:${Buffer.alloc(32, 7).toString('base64url')}`;

/** An edge in Node on a free port. */
export function startEdge(env: Readonly<Record<string, string>>): Promise<EdgeService> {
  const settings = readEdgeNodeSettings({
    EDGE_PORT: '0',
    EDGE_HOST: '127.0.0.1',
    STEERING_TOKEN_KEYS: EDGE_TOKEN_KEYS,
    ...env,
  });
  return createEdge(settings, { clock: systemClock, logger: createLogger('edge', 'silent') });
}

/** A CDN of a snapshot, in good health. */
export function snapshotCdn(name: string, baseUrl: string, changes: Partial<SnapshotCdn> = {}): SnapshotCdn {
  return {
    name,
    baseUrl,
    enabled: true,
    weight: 100,
    health: 1,
    priorityClass: 1,
    addedGeneration: 1,
    countries: [],
    asns: [],
    ...changes,
  };
}

/** A steering server of which only the snapshot is asked for; the CDNs may be changed at any time. */
export type StubSteering = StubServer & { cdns: readonly SnapshotCdn[] };

export async function startStubSteering(cdns: readonly SnapshotCdn[]): Promise<StubSteering> {
  const state = { cdns };
  const server = await startStubServer((_, response) => {
    const snapshot: SteeringSnapshot = { ...EMPTY_SNAPSHOT, generation: 1, cdns: [...state.cdns] };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(snapshot));
  });
  return Object.assign(state, server);
}
