import { Hono } from 'hono';
import type { Clock } from '#runtime/clock.ts';
import { readJson } from '#runtime/http/json-body.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Database } from '#runtime/postgres/database.ts';
import type { AccessControl } from '#steering/http/access-control.ts';
import { toChangeView } from '#steering/http/cdn-view.ts';
import { AuditQuery, CreateToken, queryOf, ReasonQuery } from '#steering/http/change-requests.ts';
import type { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import {
  ACCESS_TOKENS_MAX,
  insertAccessToken,
  newAccessToken,
  revokeAccessToken,
  validAccessTokens,
  type AccessToken,
} from '#steering/registry/access-token.ts';
import { listAudit } from '#steering/registry/audit-log.ts';
import { cancelChange } from '#steering/registry/cdn-changes.ts';
import type { Registry } from '#steering/registry/registry.ts';

export type OperationsRoutesDeps = {
  readonly clock: Clock;
  readonly access: AccessControl;
  readonly registry: Registry;
  readonly database: Database;
  readonly picture: PictureKeeper;
  readonly nodeId: string;
};

const STREAMS_SHOWN_MAX = 200;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** What operators need around the CDNs: the audit, changes to come, tokens, and how the nodes are. */
export function operationsRoutes(deps: OperationsRoutesDeps): Hono {
  const app = new Hono();
  auditRoutes(app, deps);
  changeRoutes(app, deps);
  tokenRoutes(app, deps);
  statusRoutes(app, deps);
  return app;
}

function auditRoutes(app: Hono, { access, database }: OperationsRoutesDeps): void {
  app.get('/api/v1/audit', access.require('viewer'), async (context) => {
    const { limit, cursor, cdn } = queryOf(context, AuditQuery);
    const filter = { before: cursor, limit: limit + 1, cdn: cdn ?? null };
    const found = await database.run(({ sql }) => listAudit(sql, filter));
    const entries = found.slice(0, limit);
    const last = entries.at(-1);
    const nextCursor = found.length > limit && last !== undefined ? String(last.seq) : null;
    return context.json({ entries, nextCursor });
  });
  allowOnly(app, '/api/v1/audit', ['GET']);
}

function changeRoutes(app: Hono, { access, registry }: OperationsRoutesDeps): void {
  app.get('/api/v1/changes', access.require('viewer'), (context) =>
    context.json({ changes: registry.plannedChanges.map(toChangeView) }),
  );
  allowOnly(app, '/api/v1/changes', ['GET']);
  app.delete('/api/v1/changes/:id', async (context) => {
    const actor = access.actor(context, 'operator');
    const { reason } = queryOf(context, ReasonQuery);
    const id = context.req.param('id');
    if (!UUID.test(id)) throw notFound('change_not_found', 'change');
    await registry.change(actor, undefined, async (transaction) => {
      await cancelChange(transaction, actor, id, reason);
      return {};
    });
    return context.body(null, 204);
  });
  allowOnly(app, '/api/v1/changes/:id', ['DELETE']);
}

function tokenRoutes(app: Hono, { access, registry, clock }: OperationsRoutesDeps): void {
  app.get('/api/v1/tokens', access.require('admin'), (context) =>
    context.json({ tokens: registry.accessTokens.map(toTokenView) }),
  );
  app.post('/api/v1/tokens', async (context) => {
    const actor = access.actor(context, 'admin');
    const { name, role, reason, expiresIn } = await readJson(context, CreateToken);
    const nowMs = clock.nowMs();
    const expiresAtMs = expiresIn === undefined ? null : nowMs + expiresIn * 1_000;
    const { token, text } = newAccessToken(name, role, nowMs, expiresAtMs);
    await registry.change(actor, undefined, async (transaction) => {
      const others = await validAccessTokens(transaction.sql);
      if (others.length >= ACCESS_TOKENS_MAX)
        throw new ProblemError(409, 'token_limit_reached', `${ACCESS_TOKENS_MAX} tokens exist; revoke one.`);
      if (others.some((other) => other.name === name))
        throw new ProblemError(
          409,
          'token_exists',
          `There is a token named ${name}; the audit needs the names apart.`,
        );
      await insertAccessToken(transaction.sql, token);
      const event = { action: 'token.created', cdn: null, reason, before: null, changeId: null } as const;
      await transaction.audit(actor, { ...event, after: toTokenView(token) });
      return {};
    });
    // The only time that its text is seen.
    return context.json({ ...toTokenView(token), token: text }, 201);
  });
  allowOnly(app, '/api/v1/tokens', ['GET', 'POST']);

  app.delete('/api/v1/tokens/:id', async (context) => {
    const actor = access.actor(context, 'admin');
    const { reason } = queryOf(context, ReasonQuery);
    const id = context.req.param('id');
    if (!UUID.test(id)) throw notFound('token_not_found', 'token');
    await registry.change(actor, undefined, async (transaction) => {
      const revoked = await revokeAccessToken(transaction.sql, id);
      if (revoked === undefined) throw notFound('token_not_found', 'token');
      const event = { action: 'token.revoked', cdn: null, reason, after: null, changeId: null } as const;
      await transaction.audit(actor, { ...event, before: { id, ...revoked } });
      return {};
    });
    return context.body(null, 204);
  });
  allowOnly(app, '/api/v1/tokens/:id', ['DELETE']);
}

function statusRoutes(app: Hono, deps: OperationsRoutesDeps): void {
  const { access, registry, picture, nodeId } = deps;
  app.get('/api/v1/status', access.require('viewer'), (context) => {
    const { snapshot, loads, excessViewers } = picture.current.compiled;
    return context.json({
      /** The node that answers. Everything else but `registry.source` is about all of them. */
      node: nodeId,
      registry: { generation: registry.generation, source: registry.source },
      event: snapshot.event,
      panic: snapshot.panic,
      spill: snapshot.spill,
      loads,
      excessViewers,
      viewers: Object.fromEntries(picture.viewersByCdn()),
      nodes: picture
        .nodes()
        .map(({ node, silentMs, generation, viewers }) => ({ node, silentMs, generation, viewers })),
      streams: picture.streams(STREAMS_SHOWN_MAX),
    });
  });
  allowOnly(app, '/api/v1/status', ['GET']);
}

function toTokenView(token: AccessToken): Readonly<Record<string, unknown>> {
  const { id, name, role, createdAtMs, expiresAtMs } = token;
  return {
    id,
    name,
    role,
    createdAt: new Date(createdAtMs).toISOString(),
    expiresAt: expiresAtMs === null ? null : new Date(expiresAtMs).toISOString(),
  };
}

function notFound(code: string, what: string): ProblemError {
  return new ProblemError(404, code, `There is no such ${what}.`);
}
