import { Hono } from 'hono';
import type { CurrentPicture } from '#steering/picture/picture-keeper.ts';

const HEADERS = {
  'content-type': 'application/json',
  'cache-control': 'public, max-age=1',
  'access-control-allow-origin': '*',
} as const;

/**
 * `GET /steering/v1/snapshot`: the picture that answers are made from, for the edge, which decides by it with the same
 * code. Nothing in it is secret. The ETag is of the content, so that it means the same on every node.
 */
export function snapshotRoutes(current: () => CurrentPicture): Hono {
  const app = new Hono();
  app.get('/steering/v1/snapshot', (context) => {
    const { json, etag } = current();
    const headers = { ...HEADERS, etag };
    const seen = (context.req.header('if-none-match') ?? '')
      .split(',')
      .map((tag) => tag.trim().replace(/^W\//, ''));
    return seen.includes(etag) ? context.body(null, 304, headers) : context.body(json, 200, headers);
  });
  return app;
}
