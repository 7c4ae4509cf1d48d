import { createEdgeApp } from '#edge-worker/edge-app.ts';
import { EdgeCounters } from '#edge-worker/edge-counters.ts';
import { placeFromHeaders } from '#edge-worker/http/viewer-place.ts';
import type { EdgeNodeSettings } from '#edge-worker/node/edge-node-settings.ts';
import type { Clock } from '#runtime/clock.ts';
import { listen } from '#runtime/http/server.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';

export type EdgeServiceDeps = { readonly clock: Clock; readonly logger: Logger };

/** A running edge in Node. */
export type EdgeService = Disposable & {
  /** `http://host:port` as a client on this machine reaches it. */
  readonly url: string;
  readonly port: number;
};

/** Above the longest hold of a blocking reload. */
const KEEP_ALIVE_MS = 75_000;

/**
 * Serves the edge's own handler on a socket, with Node's fetch towards the origins. Resolves when it listens and steering
 * has been asked once; steering that is silent is no reason not to start.
 *
 * @throws {ListenError} when the port is taken
 */
export async function createEdge(
  settings: EdgeNodeSettings,
  { clock, logger }: EdgeServiceDeps,
): Promise<EdgeService> {
  const counters = new EdgeCounters();
  const names = { country: settings.STEERING_COUNTRY_HEADER, asn: settings.STEERING_ASN_HEADER };
  const edge = createEdgeApp(settings, {
    fetch: (url, init) => fetch(url, init),
    clock,
    counters,
    place: (request) => placeFromHeaders(request.headers, names),
  });
  /** Node ends nothing with a request: what it began runs on by itself, and its failures have been counted. */
  const waitUntil = (work: Promise<unknown>): void => void work.catch(() => undefined);
  const snapshot = await edge.warm();
  const server = await listen((request) => edge.fetch(request, waitUntil), {
    port: settings.EDGE_PORT,
    host: settings.EDGE_HOST,
    keepAliveTimeoutMs: KEEP_ALIVE_MS,
    connectionsMax: settings.EDGE_CONNECTIONS_MAX,
  });
  logger.info({ url: server.url, snapshot }, 'edge is ready');
  return { url: server.url, port: server.port, close: () => server.close() };
}
