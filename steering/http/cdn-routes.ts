import { Hono, type Context } from 'hono';
import type { Clock } from '#runtime/clock.ts';
import { readJson } from '#runtime/http/json-body.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import type { HealthHistory, HealthView } from '#steering/health/cdn-health.ts';
import type { AccessControl } from '#steering/http/access-control.ts';
import { toCdnView, toChangeView, type CdnView } from '#steering/http/cdn-view.ts';
import {
  ChangeQuery,
  cdnNameOf,
  CreateCdn,
  DeleteQuery,
  dueAtOf,
  expectedGeneration,
  idempotencyOf,
  patchOf,
  queryOf,
  UpdateCdn,
} from '#steering/http/change-requests.ts';
import type { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import { cdnEtag, cdnNotFound, createCdn, deleteCdn, orderChange } from '#steering/registry/cdn-changes.ts';
import { configOf, patchCdnConfig, type Cdn } from '#steering/registry/cdn.ts';
import type { Registry } from '#steering/registry/registry.ts';
import type { DryRuns } from '#steering/simulation/dry-runs.ts';

export type CdnRoutesDeps = {
  readonly clock: Clock;
  readonly access: AccessControl;
  readonly registry: Registry;
  readonly picture: PictureKeeper;
  readonly dryRuns: DryRuns;
  /** Of this node. */
  readonly health: HealthView & Partial<HealthHistory>;
  readonly viewerBitrateBps: number;
};

const CDNS = '/api/v1/cdns';
const CDN = `${CDNS}/:name`;
/** Given to a CDN that a dry-run pretends to add. */
const NOT_YET = { addedGeneration: 1, createdAtMs: 0, updatedAtMs: 0 };

/**
 * The CDNs: reading for viewers, changing for operators. Changes need the ETag that was seen (If-Match) and a reason;
 * `dryRun=true` changes nothing and says who would move.
 */
export function cdnRoutes(deps: CdnRoutesDeps): Hono {
  const { access, registry, dryRuns } = deps;
  const app = new Hono();

  app.get(CDNS, access.require('viewer'), (context) => {
    const show = viewer(deps);
    return context.json({ generation: registry.generation, cdns: registry.list().map(show) });
  });

  app.post(CDNS, async (context) => {
    const actor = access.actor(context, 'operator');
    const { dryRun } = queryOf(context, ChangeQuery);
    const { name, reason, ...config } = await readJson(context, CreateCdn);
    if (dryRun) {
      const added: Cdn = { ...config, ...NOT_YET, name, generation: registry.generation + 1 };
      return context.json(await dryRuns.run([...withoutCdn(registry, name), added]));
    }
    const idempotency = idempotencyOf(context, { name, reason, ...config });
    const { value, replayed } = await registry.change(actor, idempotency, async (transaction) => ({
      cdn: await createCdn(transaction, actor, name, config, reason),
    }));
    context.header('location', `${CDNS}/${name}`);
    return answerCdn(context, deps, value.cdn, { status: 201, replayed });
  });
  allowOnly(app, CDNS, ['GET', 'POST']);

  app.get(CDN, access.require('viewer'), (context) => {
    const cdn = knownCdn(context, registry);
    return answerCdn(context, deps, cdn, { status: 200, replayed: false });
  });

  app.patch(CDN, async (context) => {
    const actor = access.actor(context, 'operator');
    const name = cdnNameOf(context);
    const { dryRun } = queryOf(context, ChangeQuery);
    const update = await readJson(context, UpdateCdn);
    const patch = patchOf(update);
    if (dryRun) {
      const cdn = knownCdn(context, registry);
      const changed = { ...cdn, ...patchCdnConfig(configOf(cdn), patch) };
      return context.json(await dryRuns.run([...withoutCdn(registry, name), changed]));
    }
    const order = {
      name,
      patch,
      expectedGeneration: expectedGeneration(context),
      reason: update.reason,
      revertAfterS: update.revertAfter ?? null,
      dueAt: dueAtOf(update.schedule, deps.clock.nowMs()),
    };
    const { value, replayed } = await registry.change(actor, idempotencyOf(context, update), (transaction) =>
      orderChange(transaction, actor, order),
    );
    const planned = value.planned === null ? null : toChangeView(value.planned);
    const status = order.dueAt === null ? 200 : 202;
    return answerCdn(context, deps, value.cdn, { status, replayed, planned });
  });

  app.delete(CDN, async (context) => {
    const actor = access.actor(context, 'operator');
    const name = cdnNameOf(context);
    const { dryRun, reason } = queryOf(context, DeleteQuery);
    if (dryRun) {
      knownCdn(context, registry);
      return context.json(await dryRuns.run(withoutCdn(registry, name)));
    }
    const order = { name, reason, expectedGeneration: expectedGeneration(context) };
    const { replayed } = await registry.change(actor, idempotencyOf(context, order), async (transaction) => ({
      cdn: await deleteCdn(transaction, actor, order),
    }));
    markReplay(context, replayed);
    return context.body(null, 204);
  });
  allowOnly(app, CDN, ['GET', 'PATCH', 'DELETE']);

  app.get(`${CDN}/health`, access.require('viewer'), (context) => {
    const { name } = knownCdn(context, registry);
    const { health, picture } = deps;
    const agreed = picture.health.cdns.get(name) ?? { factor: 1, state: 'unknown' };
    const votes = picture.nodes().flatMap(({ node, silentMs, health: seen }) => {
      const vote = seen[name];
      return vote === undefined ? [] : [{ node, silentMs, factor: vote.factor, state: vote.state }];
    });
    const history = health.history?.(name) ?? [];
    return context.json({ name, agreed, here: health.get(name), nodes: votes, history });
  });
  allowOnly(app, `${CDN}/health`, ['GET']);
  return app;
}

function knownCdn(context: Context, registry: Registry): Cdn {
  const name = cdnNameOf(context);
  const cdn = registry.get(name);
  if (cdn === undefined) throw cdnNotFound(name);
  return cdn;
}

function withoutCdn(registry: Registry, name: string): Cdn[] {
  return registry.list().filter((cdn) => cdn.name !== name);
}

function viewer(deps: CdnRoutesDeps): (cdn: Cdn) => CdnView {
  const { picture, viewerBitrateBps } = deps;
  const source = {
    picture: picture.current,
    health: picture.health,
    viewersByCdn: picture.viewersByCdn(),
    viewerBitrateBps,
  };
  return (cdn) => toCdnView(cdn, source);
}

function answerCdn(
  context: Context,
  deps: CdnRoutesDeps,
  cdn: Cdn,
  answer: {
    readonly status: 200 | 201 | 202;
    readonly replayed: boolean;
    readonly planned?: Readonly<Record<string, unknown>> | null;
  },
): Response {
  context.header('etag', cdnEtag(cdn));
  markReplay(context, answer.replayed);
  const planned = answer.planned === undefined ? {} : { planned: answer.planned };
  return context.json({ ...viewer(deps)(cdn), ...planned }, answer.status);
}

function markReplay(context: Context, replayed: boolean): void {
  if (replayed) context.header('idempotency-replayed', 'true');
}
