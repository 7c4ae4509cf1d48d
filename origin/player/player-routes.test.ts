import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { PlayerAsset } from '#origin/player/player-assets.ts';
import { createPlayerRoutes } from '#origin/player/player-routes.ts';
import { createLogger } from '#runtime/log.ts';

function fakeAsset(path: string, contentType: string, text: string): PlayerAsset {
  return {
    path,
    contentType,
    body: new TextEncoder().encode(text),
    // Not really compressed: the tests only look at which of the two is sent.
    gzip: new TextEncoder().encode(`zipped ${text}`),
    etag: `"${text}"`,
  };
}

const bundle = async () => ({
  page: fakeAsset('/', 'text/html; charset=utf-8', 'page'),
  files: [fakeAsset('/player/player-abc.js', 'text/javascript; charset=utf-8', 'script')],
});
const logger = createLogger('test', 'silent');
const app = createPlayerRoutes({ logger, bundle });
const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  Promise.resolve(app.request(path, { headers }));

describe('the player page', () => {
  it.each(['/', '/?stream=demo', '/watch/demo'])('is served at %s', async (path) => {
    const response = await get(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    expect(await response.text()).toBe('page');
  });

  it.each(['/watch/', '/watch/a%20b', '/watch/../x', `/watch/${'x'.repeat(65)}`, '/player/other.js'])(
    'is not served at %s',
    async (path) => {
      expect((await get(path)).status).toBe(404);
    },
  );

  it('lets nothing run but its own script and nothing load from another host', async () => {
    const policy = (await get('/')).headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toContain('unsafe');
    expect(policy).not.toContain('http');
  });

  it('lets media come from the CDNs it is told of, and only media', async () => {
    const steered = createPlayerRoutes({ logger, bundle, mediaOrigins: ['https://cdn-a.example'] });
    const policy = (await steered.request('/')).headers.get('content-security-policy') ?? '';
    expect(policy).toContain("connect-src 'self' https://cdn-a.example;");
    expect(policy).toContain("script-src 'self';");
  });

  it('sends files to be kept for ever', async () => {
    const response = await get('/player/player-abc.js');
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it.each([
    ['gzip', true],
    ['br, gzip;q=0.5', true],
    ['GZIP', true],
    ['', false],
    ['identity', false],
    ['gzip;q=0', false],
    ['gzip; q=0.0, br', false],
    ['x-gzipped', false],
  ])('answers accept-encoding "%s" with gzip: %s', async (accepted, zipped) => {
    const response = await get('/', { 'accept-encoding': accepted });
    expect(response.headers.get('content-encoding')).toBe(zipped ? 'gzip' : null);
    expect(await response.text()).toBe(zipped ? 'zipped page' : 'page');
    expect(response.headers.get('vary')).toBe('accept-encoding');
  });

  it('answers 304 to a client that has it, for each encoding apart', async () => {
    const plain = (await get('/')).headers.get('etag') ?? '';
    const zipped = (await get('/', { 'accept-encoding': 'gzip' })).headers.get('etag') ?? '';
    expect(plain).not.toBe(zipped);
    expect((await get('/', { 'if-none-match': plain })).status).toBe(304);
    expect((await get('/', { 'if-none-match': zipped })).status).toBe(200);
    const answer = await get('/', { 'if-none-match': zipped, 'accept-encoding': 'gzip' });
    expect(answer.status).toBe(304);
    expect(await answer.text()).toBe('');
  });
});

describe('the real bundle', () => {
  it('is one page, one script and one style sheet that fit together and name no other host', async () => {
    const real = createPlayerRoutes({ logger });
    const page = await (await real.request('/')).text();
    const paths = [...page.matchAll(/(?:src|href)="(\/player\/[^"]+)"/g)].map(([, path]) => path ?? '');
    expect(paths).toHaveLength(3);
    expect(page).not.toContain('{{');
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/);
    expect(page).not.toMatch(/\bstyle="|\bon[a-z]+="/);
    for (const path of paths) {
      const response = await real.request(path, { headers: { 'accept-encoding': 'gzip' } });
      expect(response.status).toBe(200);
      const text = gunzipSync(await response.arrayBuffer()).toString();
      expect(text.length).toBeGreaterThan(100);
    }
  });
});
