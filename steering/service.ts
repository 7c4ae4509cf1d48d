import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { TokenMac } from '#protocol/steering/session-token.ts';
import { importAccessKey } from '#protocol/access/access-keys.ts';
import type { Bus } from '#runtime/bus/bus.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import { listen } from '#runtime/http/server.ts';
import { readTlsFiles } from '#runtime/http/tls-files.ts';
import { startWhole, type Disposable, type DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { SteeringAnswers } from '#steering/answers/steering-answers.ts';
import { nodeTokenMac, ownTokenKeys } from '#steering/answers/token-keys.ts';
import { TtlPolicy } from '#steering/answers/ttl-policy.ts';
import type { TrustedHeaders } from '#steering/answers/viewer-origin.ts';
import { openControlPlane, type ControlPlane } from '#steering/control-plane.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { ViewerCredit } from '#steering/demand/viewer-credit.ts';
import { SessionSample } from '#steering/demand/session-sample.ts';
import type { HealthHistory, HealthView } from '#steering/health/cdn-health.ts';
import { createHealth } from '#steering/health/create-health.ts';
import { createSteeringApp } from '#steering/http/steering-app.ts';
import { LiveStreams } from '#steering/live-streams.ts';
import { ProbePasses } from '#steering/probe/probe-passes.ts';
import { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import type { SteeringSettings } from '#steering/settings.ts';
import { openViewerExperience, type ViewerExperience } from '#steering/viewer-experience.ts';

export type SteeringDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A database to use instead of the one in the settings; it stays open when the server is closed. */
  readonly database?: Database;
  /** A bus to use instead of the one in the settings; it stays open when the server is closed. */
  readonly bus?: Bus;
  /** Health from elsewhere instead of own probes. */
  readonly health?: HealthView & Partial<HealthHistory>;
};

/** A running steering server. */
export type Steering = Disposable & {
  /** As a client on this machine reaches it. */
  readonly url: string;
  readonly port: number;
};

/** Longest a node waits at its start to hear what the others see. */
const HEAR_OTHERS_MS = 300;
/** A TTL given out now may last so long; changes that are due sooner open the event ahead. */
const CHANGE_AHEAD_FACTOR = 1.5;
const REMEMBER_HEALTH_INTERVAL_MS = 10_000;
const CLOSE_GRACE_MS = 2_000;

/**
 * Builds and starts a steering server: registry, probes, picture, answers, ops API. Serves production, tests and the
 * all-in-one start alike. Any number of them may run side by side; none keeps anything about a viewer.
 *
 * @throws errors with a `code` for everything that a person can mend: settings, ports, certificates
 */
export function createSteering(settings: SteeringSettings, deps: SteeringDeps): Promise<Steering> {
  return startWhole(deps.logger, (started) => start(settings, deps, started));
}

async function start(
  settings: SteeringSettings,
  deps: SteeringDeps,
  started: DisposableStack,
): Promise<Steering> {
  const { clock, logger, metrics } = deps;
  const tls = await readTlsFiles(
    { name: 'STEERING_TLS_CERT_FILE', path: settings.STEERING_TLS_CERT_FILE },
    { name: 'STEERING_TLS_KEY_FILE', path: settings.STEERING_TLS_KEY_FILE },
  );
  const control = await openControlPlane(settings, deps, started);
  const { registry, bus } = control;
  const trusted: TrustedHeaders = {
    country: settings.STEERING_COUNTRY_HEADER || null,
    asn: settings.STEERING_ASN_HEADER || null,
    forwarded: settings.STEERING_TRUST_FORWARDED,
  };
  const experience = openViewerExperience(
    { clock, metrics, directory: registry, trusted, logToken: settings.STEERING_CMCD_LOG_TOKEN || undefined },
    started,
  );
  const health = deps.health ?? (await openHealth(settings, deps, control, experience, started));
  const demand = new DemandMeter(deps);
  const credit = new ViewerCredit({ perAddressMax: settings.STEERING_VIEWERS_PER_ADDRESS_MAX }, deps);
  const sample = new SessionSample();
  const nodeId = randomUUID();
  const picture = new PictureKeeper(pictureSettings(settings), {
    nodeId,
    clock,
    metrics,
    directory: registry,
    health,
    demand,
    bus,
    experience: experience.qoe,
    logger: logger.child({ subsystem: 'picture' }),
    changeDue: () => registry.changeDueWithin(settings.STEERING_TTL_S * CHANGE_AHEAD_FACTOR * 1_000),
    heldHealth: control.heldHealth,
  });
  await picture.start();
  started.add('picture', picture, () => picture.close());
  keepHealthRemembered(clock, control, picture, started);
  const ttl = openTtlPolicy(settings, deps, started);
  const answers = new SteeringAnswers({
    clock,
    metrics,
    ttl,
    demand,
    credit,
    sample,
    observe: experience.observe,
    logger: logger.child({ subsystem: 'answers' }),
    picture: () => picture.current,
    keys: tokenMacs(settings),
  });

  const hasRedis = settings.REDIS_URL !== '' || deps.bus !== undefined;
  let serving = true;
  let ownUrl = '';
  const { app, events } = createSteeringApp(settings, {
    clock,
    logger,
    metrics,
    control,
    health,
    picture,
    sample,
    experience,
    answers,
    trusted,
    nodeId,
    hasRedis,
    isServing: () => serving,
    ownUrl: () => ownUrl,
  });
  if (hasRedis) await hearOthers(picture, clock);
  const server = await listen(app.fetch, {
    port: settings.STEERING_PORT,
    host: settings.STEERING_HOST,
    connectionsMax: settings.STEERING_CONNECTIONS_MAX,
    keepAliveTimeoutMs: settings.STEERING_KEEP_ALIVE_S * 1_000,
    ...(tls === undefined ? {} : { tls }),
  });
  ownUrl = server.url;
  started.add('http server', server, () => server.close(CLOSE_GRACE_MS));
  // Streams that never end by themselves would make the server wait out its grace.
  started.add('events', events, () => events.close());
  logger.info({ url: server.url, nodeId }, 'steering is ready');

  let closing: Promise<void> | undefined;
  return {
    url: server.url,
    port: server.port,
    close: () => {
      serving = false;
      closing ??= started.close(logger);
      return closing;
    },
  };
}

async function openHealth(
  settings: SteeringSettings,
  deps: SteeringDeps,
  { registry }: ControlPlane,
  { qoe, learnLowestRung }: ViewerExperience,
  started: DisposableStack,
): Promise<HealthView & HealthHistory> {
  const { clock, logger, metrics } = deps;
  const originUrls = settings.STEERING_ORIGIN_URLS;
  const live = new LiveStreams(originUrls, { clock, logger, metrics });
  started.add('live streams', live, () => live.close());
  const [key] = settings.ACCESS_TOKEN_KEYS;
  const accessKey = key && (await importAccessKey(key.id, key.secret));
  const health = createHealth(
    settings,
    { originUrls },
    {
      clock,
      logger,
      metrics,
      learnLowestRung,
      directory: registry,
      liveStreams: () => live.ids(),
      passes: new ProbePasses(accessKey, (streamId) => live.isProtected(streamId), clock),
      experience: qoe,
    },
  );
  return started.add('health', health, () => health.close());
}

function openTtlPolicy(settings: SteeringSettings, deps: SteeringDeps, started: DisposableStack): TtlPolicy {
  let before = performance.eventLoopUtilization();
  const utilization = (): number => {
    const now = performance.eventLoopUtilization();
    const since = performance.eventLoopUtilization(now, before);
    before = now;
    return since.utilization;
  };
  const means = { steadyMeanS: settings.STEERING_TTL_S, eventMeanS: settings.STEERING_TTL_EVENT_S };
  const ttl = new TtlPolicy(means, { ...deps, utilization });
  ttl.start();
  return started.add('ttl policy', ttl, () => ttl.close());
}

/** A node that starts while everything is down shall know what was good before. */
function keepHealthRemembered(
  clock: Clock,
  control: ControlPlane,
  picture: PictureKeeper,
  started: DisposableStack,
): void {
  let timer: Timer;
  let saved = '';
  const save = async (): Promise<void> => {
    const text = JSON.stringify([...picture.heldHealth]);
    if (text !== saved) await control.remember(picture.heldHealth);
    saved = text;
  };
  const tick = (): void => {
    void save();
    timer = clock.after(REMEMBER_HEALTH_INTERVAL_MS, tick);
  };
  timer = clock.after(REMEMBER_HEALTH_INTERVAL_MS, tick);
  started.add('remembered health', picture, async () => {
    timer.cancel();
    await save();
  });
}

/** A new node asks nobody, but the others speak up when they first hear of it. */
async function hearOthers(picture: PictureKeeper, clock: Clock): Promise<void> {
  if (picture.nodes().length > 1) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(HEAR_OTHERS_MS, resolve);
  const forget = picture.onChange(() => {
    if (picture.nodes().length > 1) resolve();
  });
  await promise;
  timer.cancel();
  forget();
}

function pictureSettings(settings: SteeringSettings): ConstructorParameters<typeof PictureKeeper>[0] {
  return {
    weights: {
      cost: settings.STEERING_COST_POLICY,
      viewerBitrateBps: settings.STEERING_VIEWER_BITRATE_BPS,
    },
    events: {
      afterChangeMs: settings.STEERING_EVENT_AFTER_CHANGE_S * 1_000,
      troubleMaxMs: settings.STEERING_EVENT_TROUBLE_MAX_S * 1_000,
    },
  };
}

function tokenMacs(settings: SteeringSettings): [TokenMac, ...TokenMac[]] {
  const given = settings.STEERING_TOKEN_KEYS;
  const [first, ...others] = (given.length > 0 ? given : ownTokenKeys(settings.DATA_DIR)).map(nodeTokenMac);
  if (first === undefined) throw new Error('a steering server has at least one token key');
  return [first, ...others];
}
