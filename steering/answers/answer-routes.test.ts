import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSteeringManifest, type SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import { FakeClock } from '#runtime/clock.ts';
import { onError } from '#runtime/http/problem.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { answerRoutes } from '#steering/answers/answer-routes.ts';
import { SteeringAnswers } from '#steering/answers/steering-answers.ts';
import { nodeTokenMac, TokenKeys } from '#steering/answers/token-keys.ts';
import { TtlPolicy } from '#steering/answers/ttl-policy.ts';
import { publicBase, viewerAddress, viewerOrigin } from '#steering/answers/viewer-origin.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { ViewerCredit } from '#steering/demand/viewer-credit.ts';
import { SessionSample } from '#steering/demand/session-sample.ts';
import { currentPicture, snapshotCdn, snapshotOf } from '#tests/support/steering-fixtures.ts';

const NOBODY = { country: null, asn: null, forwarded: false };

function app(options: { publicUrl?: string; trusted?: typeof NOBODY } = {}) {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const answers = new SteeringAnswers({
    clock,
    metrics,
    logger: createLogger('test', 'silent'),
    picture: () => currentPicture(snapshotOf([snapshotCdn('a'), snapshotCdn('b')])),
    keys: [nodeTokenMac({ id: 1, secret: new Uint8Array(32) })],
    ttl: new TtlPolicy({ steadyMeanS: 25, eventMeanS: 7 }, { clock, metrics, utilization: () => 0 }),
    demand: new DemandMeter({ clock, metrics }),
    credit: new ViewerCredit({ perAddressMax: 1_000 }, { clock, metrics }),
    sample: new SessionSample(),
    observe: () => undefined,
  });
  const routes = answerRoutes(answers, {
    publicUrl: options.publicUrl ?? null,
    trusted: options.trusted ?? NOBODY,
    ownUrl: () => 'http://127.0.0.1:8090',
  });
  return routes.onError(onError(() => expect.unreachable()));
}

const manifestOf = async (response: Response): Promise<SteeringManifest> =>
  (await response.json()) as SteeringManifest;

describe('GET /steering/v1/{streamId}', () => {
  it('has the headers that players and caches need', async () => {
    const response = await app().request('http://steer.example/steering/v1/live');
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/vnd.apple.steering-list',
      'cache-control': 'no-store',
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'Retry-After',
    });
  });

  it('answers HEAD with the same headers and no body, and OPTIONS for browsers', async () => {
    const routes = app();
    const head = await routes.request('/steering/v1/live', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type'), await head.text()]).toEqual([
      200,
      'application/vnd.apple.steering-list',
      '',
    ]);
    const preflight = await routes.request('/steering/v1/live', {
      method: 'OPTIONS',
      headers: { origin: 'https://player.example', 'access-control-request-method': 'GET' },
    });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([200, '*']);
  });

  it('answers 405 to what no player sends', async () => {
    const response = await app().request('/steering/v1/live', { method: 'POST' });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS']);
  });

  it.each([
    '/steering/v1/live',
    '/steering/v1/live/',
    '/steering/v1/live/extra/path.json',
    '/steering/v1/a%20b',
    '/steering/v1/%E0%A4%A',
    '/steering/v1/..%2f..%2fetc',
    `/steering/v1/${'x'.repeat(500)}`,
    '/steering/v1/',
    '/steering/v1/live?session=',
    '/steering/v1/live?_HLS_pathway=%22a%22&_HLS_throughput=5000000',
    '/steering/v1/live?_DASH_pathway=%22a,b%22&_DASH_throughput=,',
    '/steering/v1/live?%',
    '/steering/v1/live??&&==&session',
    `/steering/v1/live?session=${'A'.repeat(5_000)}`,
  ])('is 200 and valid for %s', async (path) => {
    const response = await app().request(path, { headers: { host: 'steer.example' } });
    expect(response.status).toBe(200);
    expect(checkSteeringManifest(await manifestOf(response), { live: ['a', 'b'] })).toEqual([]);
  });

  it('is 200 and valid for any query and any headers', async () => {
    const routes = app({ trusted: { country: null, asn: null, forwarded: true } });
    const text = fc.stringMatching(/^[\x21-\x7e]{0,40}$/);
    await fc.assert(
      fc.asyncProperty(fc.webQueryParameters(), text, text, text, async (query, host, proto, address) => {
        const headers = { host, 'x-forwarded-proto': proto, 'x-forwarded-for': address };
        const response = await routes.request(`http://h/steering/v1/live?${query}`, { headers });
        expect(response.status).toBe(200);
        expect(checkSteeringManifest(await manifestOf(response), { live: ['a', 'b'] })).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps RELOAD-URI free of whatever the player has appended', async () => {
    const routes = app();
    let path = '/steering/v1/live?foo=bar&_HLS_pathway=a';
    for (let i = 0; i < 5; i++) {
      const manifest = await manifestOf(await routes.request(path, { headers: { host: 'h.example' } }));
      const uri = new URL(manifest['RELOAD-URI']);
      expect([...uri.searchParams.keys()]).toEqual(['session']);
      path = `${uri.pathname}${uri.search}&_HLS_pathway=a&_HLS_pathway=a&_HLS_throughput=1`;
    }
  });
});

describe('RELOAD-URI', () => {
  const read = (headers: Record<string, string>) => (name: string) => headers[name];
  const base = (headers: Record<string, string>, forwarded = false, publicUrl: string | null = null) =>
    publicBase(read(headers), {
      publicUrl,
      trusted: { ...NOBODY, forwarded },
      ownUrl: 'http://127.0.0.1:8090',
    });

  it.each([
    ['the configured URL', { host: 'evil.example' }, 'https://steer.example/x', 'https://steer.example/x'],
    ['the host that was asked', { host: 'steer.example:8443' }, null, 'http://steer.example:8443'],
    ['an IPv6 host', { host: '[::1]:8090' }, null, 'http://[::1]:8090'],
    ['our own address without a host', {}, null, 'http://127.0.0.1:8090'],
  ])('has %s', (_name, headers, publicUrl, expected) => {
    expect(base(headers as Record<string, string>, false, publicUrl)).toBe(expected);
  });

  it.each([
    'a"b',
    'a b',
    'user@host',
    'host/path',
    'host?x',
    'host#',
    'höst',
    ':80',
    'a\r\nb',
    '-',
    '[::1',
    'x'.repeat(300),
  ])('never has %j in it', (host) => {
    expect(base({ host })).toBe('http://127.0.0.1:8090');
  });

  it('has the scheme of a proxy only where it is trusted', () => {
    const headers = { host: 'steer.example', 'x-forwarded-proto': 'https' };
    expect(base(headers, true)).toBe('https://steer.example');
    expect(base(headers, false)).toBe('http://steer.example');
    expect(base({ ...headers, 'x-forwarded-proto': 'javascript' }, true)).toBe('http://steer.example');
  });
});

describe('the origin of a viewer', () => {
  const headers: Record<string, string> = { 'cf-ipcountry': 'de', 'x-asn': 'AS3320' };
  const trusted = { country: 'cf-ipcountry', asn: 'x-asn', forwarded: false };
  const at = (change: Record<string, string>) => (name: string) => ({ ...headers, ...change })[name];

  it('is what trusted headers say, and nothing where none is trusted', () => {
    expect(viewerOrigin(at({}), trusted)).toEqual({ country: 'DE', asn: 3320 });
    expect(viewerOrigin(at({}), NOBODY)).toEqual({ country: undefined, asn: undefined });
  });

  it.each(['XX', 'T1', 'DEU', '', '<b>', '1'])('is unknown for the country %j', (country) => {
    expect(viewerOrigin(at({ 'cf-ipcountry': country }), trusted).country).toBeUndefined();
  });

  it.each(['x', '-1', '99999999999', '1.5'])('is unknown for the network %j', (asn) => {
    expect(viewerOrigin(at({ 'x-asn': asn }), trusted).asn).toBeUndefined();
  });

  it('has the address that the last proxy saw', () => {
    const forwarded = { ...NOBODY, forwarded: true };
    const header = at({ 'x-forwarded-for': '6.6.6.6, 10.0.0.1 , 203.0.113.9' });
    expect(viewerAddress(header, forwarded, '127.0.0.1')).toBe('203.0.113.9');
    expect(viewerAddress(header, NOBODY, '198.51.100.7')).toBe('198.51.100.7');
    expect(viewerAddress(at({}), forwarded, '198.51.100.7')).toBe('198.51.100.7');
  });
});

describe('token keys', () => {
  const secret = Buffer.alloc(32, 1).toString('base64url');

  it('are one or two, the first signs', () => {
    const two = TokenKeys.parse(`7:${secret}, 6:${Buffer.alloc(40, 2).toString('base64url')}`);
    expect(two.map(({ id, secret: bytes }) => [id, bytes.length])).toEqual([
      [7, 32],
      [6, 40],
    ]);
  });

  it.each([
    '',
    secret,
    `x:${secret}`,
    `1:${'a'.repeat(20)}`,
    `4096:${secret}`,
    `1:${secret},1:${secret}`,
    `1:${secret},2:${secret},3:${secret}`,
  ])('are refused: %s', (text) => {
    expect(TokenKeys.safeParse(text).success).toBe(false);
  });
});

describe('a node under too much load', () => {
  it('asks for more patience in steps and goes back when it is over', () => {
    const clock = new FakeClock();
    let utilization = 0.5;
    const policy = new TtlPolicy(
      { steadyMeanS: 25, eventMeanS: 7 },
      { clock, metrics: createMetrics('test'), utilization: () => utilization },
    );
    policy.start();
    const after = (busy: number): number => {
      utilization = busy;
      clock.advance(1_000);
      return policy.meanS('steady');
    };
    expect([0.8, 0.9, 0.99, 0.9, 0.7, 0.5, 0.5, 0.1].map(after)).toEqual([25, 50, 100, 100, 100, 50, 25, 25]);
    policy.close();
    expect(clock.pendingCount).toBe(0);
  });
});
