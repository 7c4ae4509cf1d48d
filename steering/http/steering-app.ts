import { Hono } from 'hono';
import type { Clock } from '#runtime/clock.ts';
import { notFound, onError, ProblemError, problemResponse } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { DatabaseUnavailableError } from '#runtime/postgres/database-errors.ts';
import { answerRoutes } from '#steering/answers/answer-routes.ts';
import type { SteeringAnswers } from '#steering/answers/steering-answers.ts';
import { peerAddress, viewerAddress, type TrustedHeaders } from '#steering/answers/viewer-origin.ts';
import { createConsoleRoutes } from '#steering/console/console-routes.ts';
import { createEventRoutes, type EventRoutes } from '#steering/console/event-routes.ts';
import type { ControlPlane } from '#steering/control-plane.ts';
import type { SessionSample } from '#steering/demand/session-sample.ts';
import type { HealthHistory, HealthView } from '#steering/health/cdn-health.ts';
import { AccessControl } from '#steering/http/access-control.ts';
import { FailedLogins } from '#steering/http/failed-logins.ts';
import { cdnRoutes } from '#steering/http/cdn-routes.ts';
import { healthRoutes } from '#steering/http/health-routes.ts';
import { operationsRoutes } from '#steering/http/operations-routes.ts';
import { snapshotRoutes } from '#steering/http/snapshot-routes.ts';
import type { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import type { SteeringSettings } from '#steering/settings.ts';
import { DryRuns } from '#steering/simulation/dry-runs.ts';
import type { ViewerExperience } from '#steering/viewer-experience.ts';

/** What the routes of a steering server are put together from. */
export type SteeringAppParts = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly control: ControlPlane;
  readonly health: HealthView & Partial<HealthHistory>;
  readonly picture: PictureKeeper;
  readonly sample: SessionSample;
  readonly experience: ViewerExperience;
  readonly answers: SteeringAnswers;
  readonly trusted: TrustedHeaders;
  readonly nodeId: string;
  /** Whether there is a bus that can be cut off. */
  readonly hasRedis: boolean;
  readonly isServing: () => boolean;
  readonly ownUrl: () => string;
};

const RETRY_AFTER_S = 2;

/** Every route of a steering server. */
export function createSteeringApp(
  settings: SteeringSettings,
  parts: SteeringAppParts,
): { readonly app: Hono; readonly events: EventRoutes } {
  const { clock, logger, metrics, control, picture, sample, nodeId, health } = parts;
  const { registry, database, bus } = control;
  const viewerBitrateBps = settings.STEERING_VIEWER_BITRATE_BPS;
  const app = new Hono();
  app.onError(toProblem(logger));
  app.notFound(notFound);
  // Before the answers: it lies under their path.
  app.route(
    '/',
    snapshotRoutes(() => picture.current),
  );
  const publicUrl = settings.STEERING_PUBLIC_URL || null;
  app.route('/', answerRoutes(parts.answers, { publicUrl, trusted: parts.trusted, ownUrl: parts.ownUrl }));
  app.route('/', parts.experience.routes);
  app.use('/api/*', async (context, next) => {
    await next();
    context.header('x-content-type-options', 'nosniff');
    context.header('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
    context.header('cache-control', 'no-store');
    if (settings.STEERING_TLS_CERT_FILE !== '')
      context.header('strict-transport-security', 'max-age=31536000');
  });
  const accessTokens = () => registry.accessTokens;
  const access = new AccessControl({
    clock,
    accessTokens,
    adminToken: settings.ADMIN_TOKEN,
    failedLogins: new FailedLogins({ clock, metrics }),
    addressOf: (context) =>
      viewerAddress((name) => context.req.header(name), parts.trusted, peerAddress(context)),
  });
  const dryRuns = new DryRuns({ picture, sample, viewerBitrateBps });
  app.route('/', cdnRoutes({ clock, access, registry, picture, dryRuns, health, viewerBitrateBps }));
  app.route('/', operationsRoutes({ clock, access, registry, database, picture, nodeId }));
  const events = createEventRoutes({
    clock,
    metrics,
    actor: (context, role) => access.actor(context, role),
    sources: [registry, picture, health],
    generations: () => ({ registry: registry.generation, health: health.generation }),
    viewersByCdn: () => picture.viewersByCdn(),
  });
  app.route('/', events.routes);
  app.route('/', createConsoleRoutes({ logger: logger.child({ subsystem: 'console' }) }));
  app.route(
    '/',
    healthRoutes({
      metrics,
      isServing: parts.isServing,
      source: () => registry.source,
      databaseUp: () => database.isUp,
      redisUp: () => (parts.hasRedis ? bus.connected : undefined),
    }),
  );
  return { app, events };
}

function toProblem(logger: Logger): ReturnType<typeof onError> {
  const answer = onError((error, context) =>
    logger.error({ err: error, method: context.req.method, path: context.req.path }, 'request failed'),
  );
  return (error, context) => {
    if (!(error instanceof DatabaseUnavailableError)) return answer(error, context);
    logger.warn({ err: error, path: context.req.path }, 'request needs the database');
    return problemResponse(
      new ProblemError(
        503,
        error.code,
        'The database does not answer now; players are steered by what is known. Try again later.',
        { headers: { 'retry-after': String(RETRY_AFTER_S) } },
      ),
    );
  };
}
