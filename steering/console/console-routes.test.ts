import { describe, expect, it } from 'vitest';
import { createLogger } from '#runtime/log.ts';
import { createConsoleRoutes } from '#steering/console/console-routes.ts';

describe('the console', () => {
  const app = createConsoleRoutes({ logger: createLogger('test', 'silent') });

  it('is a page that loads nothing from elsewhere and nothing inline', async () => {
    const page = await app.request('/console/');
    expect(page.status).toBe(200);
    const html = await page.text();
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toContain('unsafe');
    expect(policy).not.toMatch(/https?:/);
    expect(html).not.toMatch(/(src|href)="(https?:)?\/\//);
    expect(html).not.toMatch(/<style|<script>|\son[a-z]+=|style="/);
    const files = [...html.matchAll(/(?:src|href)="([\w.-]+)"/g)].map((match) => match[1]);
    expect(files.length).toBe(3);
    for (const file of files) {
      const answer = await app.request(`/console/${file}`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toContain('immutable');
      expect(await answer.text()).not.toMatch(/\b(fetch|import)\(["'`]https?:|url\(/);
    }
  });

  it('answers 304 for what is known, 404 for what is not, and leads to its folder', async () => {
    const etag = (await app.request('/console/')).headers.get('etag') ?? '';
    expect((await app.request('/console/', { headers: { 'if-none-match': etag } })).status).toBe(304);
    expect((await app.request('/console/nothing.js')).status).toBe(404);
    expect((await app.request('/console')).headers.get('location')).toBe('/console/');
  });
});
