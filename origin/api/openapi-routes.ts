import { z } from 'zod';
import type { ApiRoutes } from '#origin/api/api-routes.ts';
import { toOpenApi } from '#origin/api/openapi.ts';
import { operation, type Operation } from '#origin/api/operation.ts';

const GET_DOCUMENT = operation({
  id: 'getOpenApi',
  method: 'get',
  path: '/api/v1/openapi.json',
  tag: 'Document',
  summary: 'This document',
  scopes: 'anybody',
  status: 200,
  answer: z.looseObject({ openapi: z.string() }),
});

/** `GET /api/v1/openapi.json`: what is served, as the handlers themselves check and answer it. */
export function serveOpenApi(routes: ApiRoutes, operations: () => readonly Operation[]): void {
  routes.serve(GET_DOCUMENT, (context) => {
    context.header('access-control-allow-origin', '*');
    return context.json(toOpenApi(operations(), new URL(context.req.url).origin));
  });
}
