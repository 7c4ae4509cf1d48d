import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { checkPortsFree, type WantedPort } from '#all-in-one/free-ports.ts';
import { DemoPublisher } from '#all-in-one/demo-publisher.ts';
import { lanAddresses } from '#all-in-one/lan-addresses.ts';
import { LOCAL_CDN_NAMES, planLocalCdns, startLocalCdns } from '#all-in-one/local-cdns.ts';
import { sayWhenLive } from '#all-in-one/on-air.ts';
import type { AllInOneSettings } from '#all-in-one/settings.ts';
import { openSharedDatabase } from '#all-in-one/shared-database.ts';
import type { SummaryFacts } from '#all-in-one/summary.ts';
import type { EdgeNodeSettings } from '#edge-worker/node/edge-node-settings.ts';
import { createEdge } from '#edge-worker/node/service.ts';
import type { PlayerEdge } from '#origin/player/player-routes.ts';
import { registerCdns } from '#cdn/registration.ts';
import { createOrigin } from '#origin/service.ts';
import type { OriginSettings } from '#origin/settings.ts';
import { keepAccessKeys } from '#runtime/access-keys-file.ts';
import type { Clock } from '#runtime/clock.ts';
import { DisposableStack, type Disposable } from '#runtime/lifecycle.ts';
import { createLogger, type Logger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import { ownTokenKeys } from '#steering/answers/token-keys.ts';
import { createSteering } from '#steering/service.ts';
import { createTranscoder } from '#transcoder/service.ts';

export type AllInOneDeps = { readonly clock: Clock };

export type AllInOneOptions = {
  /** Publish a test picture to the ready-made stream. */
  readonly demo: boolean;
  /** Takes what a person may want to know after the start. */
  readonly say: (text: string) => void;
};

/** Where the running system is found. */
export type AllInOneAddresses = Pick<
  SummaryFacts,
  'originUrl' | 'rtmpUrl' | 'steeringUrl' | 'edgeUrl' | 'stream' | 'lanAddresses' | 'cdnUrls' | 'cdnNote'
>;

/** Every service in one process tree. */
export type AllInOne = Disposable & { readonly addresses: AllInOneAddresses };

const READY_MADE_STREAM = { id: 'demo', name: 'Demo' };

/**
 * Starts every service by its own `create…` function, the later ones with the addresses of the earlier: they meet on the
 * wire, as they do when each has a machine of its own. Resolves when all of them are ready.
 *
 * @throws errors with a `code` for everything that a person can mend; nothing is left running then
 */
export async function createAllInOne(
  settings: AllInOneSettings,
  options: AllInOneOptions,
  deps: AllInOneDeps,
): Promise<AllInOne> {
  const started = new DisposableStack();
  const logger = createLogger('all-in-one', settings.origin.LOG_LEVEL);
  try {
    const addresses = await start(settings, options, deps, started);
    let closing: Promise<void> | undefined;
    return { addresses, close: () => (closing ??= started.close(logger)) };
  } catch (error) {
    await started.close(logger);
    throw error;
  }
}

async function start(
  settings: AllInOneSettings,
  options: AllInOneOptions,
  { clock }: AllInOneDeps,
  started: DisposableStack,
): Promise<AllInOneAddresses> {
  const { LOG_LEVEL, RTMP_PUBLIC_URL } = settings.origin;
  const originSpeaksTls = settings.origin.ORIGIN_TLS_CERT_FILE !== '';
  const localCdns = await planLocalCdns(settings.localCdns, { originSpeaksTls });
  await checkPortsFree([
    ...wantedPorts(settings),
    ...localCdns.cdns.map(({ host, port }) => ({ name: 'LOCAL_CDN_PORTS', port, host })),
  ]);
  const serviceDeps = (name: string): { clock: Clock; logger: Logger; metrics: Metrics } => ({
    clock,
    logger: createLogger(name, LOG_LEVEL),
    metrics: createMetrics(name),
  });

  const deps = {
    origin: serviceDeps('origin'),
    transcoder: serviceDeps('transcoder'),
    steering: serviceDeps('steering'),
  };
  const database = await openSharedDatabase(settings, deps, started);

  const accessKeys = accessKeysOf(settings);
  // With it the edge and the local CDNs share one copy of a protected stream among viewers whose tokens they have checked.
  const pullToken = settings.origin.ORIGIN_PULL_TOKEN || randomBytes(24).toString('base64url');
  let rtmpPort = settings.transcoder.RTMP_PORT;
  let playerEdge: (host: string) => PlayerEdge | undefined = () => undefined;
  const mediaOrigins = [
    ...settings.origin.ORIGIN_PLAYER_MEDIA_ORIGINS,
    ...localCdns.cdns.map(({ url }) => url),
  ];
  const origin = await createOrigin(
    {
      ...settings.origin,
      ...accessKeys,
      ORIGIN_PULL_TOKEN: pullToken,
      ORIGIN_PLAYER_MEDIA_ORIGINS: mediaOrigins,
    },
    {
      ...deps.origin,
      ...(database === undefined ? {} : { database: database.origin }),
      playerEdge: (host) => playerEdge(host),
      ingestUrls: (host) => (RTMP_PUBLIC_URL.length > 0 ? RTMP_PUBLIC_URL : [rtmpUrl(host, rtmpPort)]),
    },
  );
  started.add('origin', origin, () => origin.close());

  const originUrls = (name: string): object => (settings.given.has(name) ? {} : { [name]: [origin.url] });
  const transcoder = await createTranscoder(
    { ...settings.transcoder, ...originUrls('ORIGIN_URLS') },
    deps.transcoder,
  );
  started.add('transcoder', transcoder, () => transcoder.close());
  ({ rtmpPort } = transcoder);

  await startLocalCdns(
    localCdns,
    { originUrl: origin.url, dataDir: settings.dataDir, pullToken },
    serviceDeps('all-in-one'),
    started,
  );
  const allowedTargets = [
    ...settings.steering.STEERING_PROBE_ALLOWED_TARGETS,
    ...localCdns.cdns.map(({ url }) => new URL(url).host),
  ];
  const steering = await createSteering(
    {
      ...settings.steering,
      ...originUrls('STEERING_ORIGIN_URLS'),
      ...accessKeys,
      STEERING_PROBE_ALLOWED_TARGETS: allowedTargets,
    },
    { ...deps.steering, ...(database === undefined ? {} : { database: database.steering }) },
  );
  started.add('steering', steering, () => steering.close());
  if (settings.localCdns.LOCAL_CDNS !== 'off')
    await registerCdns(
      localCdns.cdns,
      { url: steering.url, adminToken: settings.origin.ADMIN_TOKEN, reason: 'npm start' },
      LOCAL_CDN_NAMES,
    );

  const edge = await createEdge(
    {
      ...edgeSettings(settings, { originUrl: origin.url, steeringUrl: steering.url }),
      ...accessKeys,
      ORIGIN_PULL_TOKEN: pullToken,
    },
    serviceDeps('edge'),
  );
  started.add('edge', edge, () => edge.close());
  playerEdge = (host) => {
    const url = atHost(edge.url, host);
    return { url, mediaOrigins: [url, atHost(steering.url, host)] };
  };

  const stream = await origin.ensureStream(READY_MADE_STREAM);
  const addresses = {
    originUrl: origin.url,
    rtmpUrl: rtmpUrl('127.0.0.1', rtmpPort),
    steeringUrl: steering.url,
    edgeUrl: edge.url,
    cdnUrls: localCdns.cdns.map(({ url }) => url),
    ...(localCdns.note === undefined ? {} : { cdnNote: localCdns.note }),
    stream,
    lanAddresses: lanAddresses(settings.origin.ORIGIN_HOST),
  };
  if (options.demo) await startDemo(settings, options, addresses, serviceDeps('all-in-one'), started);
  return addresses;
}

/** The edge meets the others of this process where they are, and signs sessions with the keys of steering. */
function edgeSettings(
  { edge, steering, given, dataDir }: AllInOneSettings,
  found: { readonly originUrl: string; readonly steeringUrl: string },
): EdgeNodeSettings {
  const keys = steering.STEERING_TOKEN_KEYS;
  return {
    ...edge,
    ...(given.has('ORIGIN_URLS') ? {} : { ORIGIN_URLS: [found.originUrl] }),
    ...(given.has('EDGE_STEERING_URLS') ? {} : { EDGE_STEERING_URLS: [found.steeringUrl] }),
    STEERING_TOKEN_KEYS: keys.length > 0 ? [...keys] : [...ownTokenKeys(dataDir)],
  };
}

/** A URL of ours as somebody calls it that knows this machine as `host`. */
function atHost(url: string, host: string): string {
  const called = new URL(url);
  called.hostname = host;
  return called.origin;
}

/** Who makes playback tokens and who checks them have the same keys. */
function accessKeysOf({ origin, dataDir }: AllInOneSettings): Pick<OriginSettings, 'ACCESS_TOKEN_KEYS'> {
  const given = origin.ACCESS_TOKEN_KEYS;
  return {
    ACCESS_TOKEN_KEYS: given.length > 0 ? given : keepAccessKeys(join(dataDir, 'access-token-keys')),
  };
}

async function startDemo(
  { dataDir }: AllInOneSettings,
  { say }: AllInOneOptions,
  { originUrl, rtmpUrl: server, stream }: AllInOneAddresses,
  deps: { readonly clock: Clock; readonly logger: Logger },
  started: DisposableStack,
): Promise<void> {
  const demo = await DemoPublisher.start({ rtmpUrl: server, streamKey: stream.streamKey, dataDir }, deps);
  started.add('demo publisher', demo, () => demo.close());
  const watch = new AbortController();
  started.add('on-air watch', watch, () => watch.abort());
  void sayWhenLive({ originUrl, streamId: stream.id, say }, deps, watch.signal);
}

function wantedPorts({ origin, transcoder, steering, edge }: AllInOneSettings): WantedPort[] {
  return [
    { name: 'RTMP_PORT', port: transcoder.RTMP_PORT, host: transcoder.RTMP_HOST },
    { name: 'ORIGIN_PORT', port: origin.ORIGIN_PORT, host: origin.ORIGIN_HOST },
    { name: 'TRANSCODER_PORT', port: transcoder.TRANSCODER_PORT, host: transcoder.TRANSCODER_HOST },
    { name: 'EDGE_PORT', port: edge.EDGE_PORT, host: edge.EDGE_HOST },
    { name: 'STEERING_PORT', port: steering.STEERING_PORT, host: steering.STEERING_HOST },
  ];
}

function rtmpUrl(host: string, port: number): string {
  return `rtmp://${host}:${port}/app`;
}
