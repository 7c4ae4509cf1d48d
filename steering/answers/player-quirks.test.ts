import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { FakeClock } from '#runtime/clock.ts';
import { onError } from '#runtime/http/problem.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { answerRoutes } from '#steering/answers/answer-routes.ts';
import { SteeringAnswers } from '#steering/answers/steering-answers.ts';
import { nodeTokenMac } from '#steering/answers/token-keys.ts';
import { TtlPolicy } from '#steering/answers/ttl-policy.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { ViewerCredit } from '#steering/demand/viewer-credit.ts';
import { SessionSample } from '#steering/demand/session-sample.ts';
import { currentPicture, snapshotCdn, snapshotOf } from '#tests/support/steering-fixtures.ts';

/**
 * What hurts real players (hls.js 1.7.4, Shaka 5.2.12, video.js http-streaming 3.17.5, dash.js 5.2.1, media3 1.11) and a
 * server can do to them: none of it may ever come from us, in no state of ours.
 */
const CDNS = ['a', 'b', 'c'].map((name) => snapshotCdn(name));
const STATES: Readonly<Record<string, SteeringSnapshot>> = {
  'all is well': snapshotOf(CDNS),
  'an event is open': snapshotOf(CDNS, { event: true }),
  'two of three are dead': snapshotOf(CDNS.map((cdn, i) => ({ ...cdn, health: i === 0 ? 1 : 0 }))),
  'everything looks dead': snapshotOf(
    CDNS.map((cdn) => ({ ...cdn, health: 0 })),
    { panic: true },
  ),
  'everything is disabled': snapshotOf(CDNS.map((cdn) => ({ ...cdn, enabled: false }))),
  'everything is being drained': snapshotOf(CDNS.map((cdn) => ({ ...cdn, weight: 0 }))),
  'no CDN is known': snapshotOf([], { generation: 0 }),
  'a mistake of ours': { ...snapshotOf(CDNS), streams: null as never },
};

/**
 * The table of `content-steering` quirks, row by row: what a server does to provoke it → the test that shows that ours does
 * not. Titles are those below in this file unless a file is named; a test of its own looks for every one of them. Rows that
 * only a playlist or a player can provoke (matching of variants, `data:` SERVER-URI, penalties, the player's own timing) are
 * not here: no answer can.
 */
const ROWS: readonly { readonly quirk: string; readonly test: string; readonly file?: string }[] = [
  { quirk: 'TTL missing, 0 or beyond a timer: loops (hls.js, VHS)', test: 'TTL is there, whole, not 0' },
  { quirk: 'VERSION not 1: never asks again (hls.js, Shaka), loops (VHS)', test: 'VERSION is the number 1' },
  { quirk: 'body is not JSON: VHS throws', test: 'the body is JSON, and nothing but' },
  { quirk: '410: stops for ever', test: 'nobody gets 410 or 429' },
  { quirk: '429: stops for ever (hls.js), loops (VHS)', test: 'nobody gets 410 or 429' },
  { quirk: '5xx on a first request: loops (VHS), dead (dash.js)', test: 'nobody gets 410 or 429' },
  { quirk: '5xx on a later request', test: 'nobody gets 410 or 429' },
  { quirk: 'Retry-After is read or not', test: 'nobody gets a redirect or a Retry-After' },
  { quirk: 'malformed RELOAD-URI: disables hls.js', test: 'RELOAD-URI is absolute' },
  { quirk: 'relative RELOAD-URI: Shaka throws, dash.js resolves it wrongly', test: 'RELOAD-URI is absolute' },
  { quirk: 'query of RELOAD-URI is encoded again (VHS)', test: 'the query of RELOAD-URI survives' },
  { quirk: '_HLS_* in RELOAD-URI: sent twice (media3, dash.js)', test: 'RELOAD-URI has no parameter' },
  {
    quirk: 'what a player appends must not come back',
    test: 'free of whatever',
    file: 'steering/answers/answer-routes.test.ts',
  },
  {
    quirk: 'one entry: no failover (hls.js); penalty against the only one',
    test: 'there is more than one pathway',
  },
  {
    quirk: 'clone HOST with port, PARAMS, PER-*-URIS, same ID again, one pathway',
    test: 'no pathway is cloned',
  },
  {
    quirk: 'unknown pathways only: DASH ends playback',
    test: 'told of no pathway',
    file: 'steering/answers/steering-answers.test.ts',
  },
  {
    quirk: 'a slow first answer blocks the start (Shaka)',
    test: 'begin on the pathway',
    file: 'tests/steering/players.test.ts',
  },
  { quirk: 'no parameters at first (Shaka)', test: "'Shaka, first'" },
  { quirk: 'quoted, unquoted, lists', test: "'dash.js, again'" },
  {
    quirk: 'throughput wraps (hls.js), is a float (VHS), is left out of a list (dash.js)',
    test: "'hls.js above 2 Gbit/s'",
  },
  { quirk: 'CMCD on the steering request (dash.js)', test: "'dash.js with CMCD'" },
  {
    quirk: 'cached by a page or a proxy; not readable across origins',
    test: 'nothing is cached, and every page may read it',
  },
  {
    quirk: 'VHS and dash.js as a whole',
    test: 'asks no more often than it is told',
    file: 'tests/steering/dash-and-videojs.test.ts',
  },
  {
    quirk: 'hls.js and Shaka as a whole',
    test: 'leave a CDN that $fault',
    file: 'tests/steering/players.test.ts',
  },
];

it.each(ROWS)('$quirk: is tested', async ({ test, file }) => {
  const text = await readFile(file ?? import.meta.filename, 'utf8');
  // In the table itself each title stands once already.
  expect(text.split(test).length - 1).toBeGreaterThan(
    file === undefined ? ROWS.filter((row) => row.test === test).length : 0,
  );
});

/** First requests and later ones, as each player writes them. */
const REQUESTS: Readonly<Record<string, (session: string) => string>> = {
  'hls.js, first': () => '_HLS_pathway=a&_HLS_throughput=500000',
  'Shaka, first': () => '',
  'dash.js, first': () => '_DASH_pathway=%22a%22&_DASH_throughput=1000',
  'hls.js above 2 Gbit/s': (session) => `session=${session}&_HLS_pathway=a&_HLS_throughput=-1294967296`,
  'video.js, again': (session) => `session=${session}&_HLS_pathway=b&_HLS_throughput=1234.56`,
  'dash.js, again': (session) => `session=${session}&_DASH_pathway=%22b%2Ca%22&_DASH_throughput=1`,
  'dash.js with CMCD': (session) =>
    `session=${session}&_DASH_pathway=%22b%22&_DASH_throughput=&CMCD=bl%3D1000%2Csid%3D%22s%22`,
  'media3, again': (session) =>
    `session=${session}&_HLS_pathway=a&_HLS_pathway=b&_HLS_throughput=1&_HLS_throughput=2`,
  'a forged session': (session) => `session=${session.slice(0, -2)}AA&_HLS_pathway=a`,
};

type Answer = { response: Response; manifest: SteeringManifest };

async function answersIn(state: string): Promise<Map<string, Answer>> {
  const clock = new FakeClock();
  const metrics = createMetrics('test');
  const answers = new SteeringAnswers({
    clock,
    metrics,
    logger: createLogger('test', 'silent'),
    picture: () => currentPicture(STATES[state] ?? snapshotOf([])),
    keys: [nodeTokenMac({ id: 1, secret: new Uint8Array(32) })],
    // As overloaded as can be: TTLs are then longest, and nothing is refused.
    ttl: new TtlPolicy({ steadyMeanS: 25, eventMeanS: 7 }, { clock, metrics, utilization: () => 1 }),
    demand: new DemandMeter({ clock, metrics }),
    credit: new ViewerCredit({ perAddressMax: 1_000 }, { clock, metrics }),
    sample: new SessionSample(),
    observe: () => undefined,
  });
  const app = answerRoutes(answers, {
    publicUrl: 'https://steer.example',
    trusted: { country: null, asn: null, forwarded: false },
    ownUrl: () => 'http://127.0.0.1:8090',
  }).onError(onError(() => expect.unreachable()));
  const given = new Map<string, Answer>();
  let session = 'A'.repeat(91);
  for (const [player, query] of Object.entries(REQUESTS)) {
    const response = await app.request(`/steering/v1/live?${query(session)}`);
    const manifest = (await response.clone().json()) as SteeringManifest;
    session = new URL(manifest['RELOAD-URI']).searchParams.get('session') ?? session;
    given.set(player, { response, manifest });
  }
  return given;
}

describe.each(Object.keys(STATES))('when %s', (state) => {
  const each = async (look: (answer: Answer) => unknown): Promise<unknown[]> =>
    [...(await answersIn(state)).values()].map(look);
  const all = (value: unknown): unknown[] => Object.keys(REQUESTS).map(() => value);

  it('nobody gets 410 or 429 (steering ends for ever), 204, or 5xx on the first request (a loop)', async () => {
    expect(await each(({ response }) => response.status)).toEqual(all(200));
  });

  it('nobody gets a redirect or a Retry-After', async () => {
    const headers = await each(
      ({ response }) => response.headers.get('location') ?? response.headers.get('retry-after'),
    );
    expect(headers).toEqual(all(null));
  });

  it('the body is JSON, and nothing but (video.js throws at anything else)', async () => {
    const texts = await Promise.all((await each(({ response }) => response.text())) as Promise<string>[]);
    expect(texts.map((text) => /^\{"VERSION":1,.*\}$/.test(text) && typeof JSON.parse(text))).toEqual(
      all('object'),
    );
  });

  it('VERSION is the number 1 (another one ends steering, or loops in video.js)', async () => {
    expect(await each(({ manifest }) => manifest.VERSION)).toEqual(all(1));
  });

  it('TTL is there, whole, not 0 and within any timer (else hls.js and video.js loop)', async () => {
    const good = ({ manifest: { TTL } }: Answer): boolean =>
      Number.isInteger(TTL) && TTL >= 5 && TTL <= 3_600;
    expect(await each(good)).toEqual(all(true));
  });

  it('RELOAD-URI is absolute (Shaka cannot resolve a relative one) and parses (else hls.js gives up)', async () => {
    const good = ({ manifest }: Answer): boolean => new URL(manifest['RELOAD-URI']).protocol === 'https:';
    expect(await each(good)).toEqual(all(true));
  });

  it('the query of RELOAD-URI survives being written anew (video.js encodes it again)', async () => {
    const good = ({ manifest }: Answer): boolean => {
      const query = new URL(manifest['RELOAD-URI']).search.slice(1);
      return (
        new URLSearchParams(query).toString() === query &&
        encodeURIComponent(query.slice(8)) === query.slice(8)
      );
    };
    expect(await each(good)).toEqual(all(true));
  });

  it('RELOAD-URI has no parameter of the player in it (media3 and dash.js would send it twice)', async () => {
    expect(await each(({ manifest }) => /_(?:HLS|DASH)_/.test(manifest['RELOAD-URI']))).toEqual(all(false));
  });

  it('there is more than one pathway wherever there is a choice (hls.js fails over only then)', async () => {
    const { cdns } = STATES[state] ?? snapshotOf([]);
    const live = cdns.filter(({ enabled, health }) => enabled && health > 0).length;
    const least = Math.min(2, live === 0 ? cdns.length : live) || 1;
    expect(await each(({ manifest }) => manifest['PATHWAY-PRIORITY'].length >= least)).toEqual(all(true));
  });

  it('no pathway is cloned (host with port, parameters and a changed definition all break somewhere)', async () => {
    const keys = ['VERSION', 'TTL', 'RELOAD-URI', 'PATHWAY-PRIORITY'];
    expect(await each(({ manifest }) => Object.keys(manifest))).toEqual(all(keys));
  });

  it('nothing is cached, and every page may read it', async () => {
    const headers = ({ response }: Answer): (string | null)[] =>
      ['cache-control', 'access-control-allow-origin', 'content-type'].map((name) =>
        response.headers.get(name),
      );
    expect(await each(headers)).toEqual(all(['no-store', '*', 'application/vnd.apple.steering-list']));
  });
});
