import { beforeEach, describe, expect, it } from 'vitest';
import { EdgeProblem } from '#edge-worker/http/answers.ts';
import { parsePlaybackPath, type PlaybackTarget } from '#edge-worker/http/playback-path.ts';
import { edgeDeps, FakeOrigins, settle } from '#edge-worker/testing/fake-origins.ts';
import { FLIGHTS_MAX, Upstream } from '#edge-worker/upstream/upstream.ts';
import type { UpstreamAnswer } from '#edge-worker/upstream/upstream-answer.ts';
import { FakeClock } from '#runtime/clock.ts';

const A = 'http://a.example';
const B = 'http://b.example';
const MASTER = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n720p/index.m3u8\n';
const playlist = (msn: number, part: number): string =>
  [
    '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5',
    `#EXT-X-MEDIA-SEQUENCE:${msn - 1}\n#EXTINF:2,\n${msn - 1}.m4s`,
    ...Array.from({ length: part + 1 }, (_, index) => `#EXT-X-PART:DURATION=0.5,URI="${msn}.${index}.m4s"`),
    '',
  ].join('\n');
const LASTING = { 'cache-control': 'public, max-age=12' };
const MARGIN_MS = 1_000;

const target = (path: string, query = ''): PlaybackTarget => {
  const parsed = parsePlaybackPath(path, query);
  if (parsed === undefined) throw new Error(`${path} is no playback path`);
  return parsed.target;
};
const reload = (msn: number, part: number): PlaybackTarget =>
  target('/live/demo/720p/index.m3u8', `_HLS_msn=${msn}&_HLS_part=${part}`);
const PLAIN = target('/live/demo/720p/index.m3u8');
const LADDER = target('/live/demo/master.m3u8');

describe('what origins have', () => {
  let clock: FakeClock;
  let origins: FakeOrigins;
  let upstream: Upstream;
  let deps: ReturnType<typeof edgeDeps>;
  const start = (...originUrls: string[]): void => {
    deps = edgeDeps(clock, origins);
    upstream = new Upstream(deps, {
      originUrls,
      pullToken: '',
      memoryBytesMax: 1024 * 1024,
      firstByteMarginMs: MARGIN_MS,
    });
  };
  const get = (wanted: PlaybackTarget): Promise<UpstreamAnswer> => upstream.get(wanted, () => undefined);
  const outcome = (wanted: PlaybackTarget): Promise<unknown> =>
    get(wanted).then(
      ({ status }) => status,
      (error: unknown) => (error instanceof EdgeProblem ? `${error.status} ${error.code}` : error),
    );
  const textOf = async (answer: Promise<UpstreamAnswer>): Promise<string> =>
    new TextDecoder().decode((await answer).body);

  beforeEach(() => {
    clock = new FakeClock();
    origins = new FakeOrigins(() => ({ body: playlist(10, 0), headers: LASTING }));
    start(A);
  });

  it('are asked once for all who wait, and not again while the answer is fresh', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => get(reload(10, 0))));
    expect(new Set(answers).size).toBe(1);
    clock.advance(11_000);
    await get(reload(10, 0));
    expect(origins.requests).toEqual([`${A}/live/demo/720p/index.m3u8?_HLS_msn=10&_HLS_part=0`]);
    clock.advance(2_000);
    await get(reload(10, 0));
    expect(origins.requests).toHaveLength(2);
  });

  it('counts the Age of an answer against its freshness, and tells when it was made', async () => {
    origins.answer(() => ({ body: 'bytes', headers: { ...LASTING, age: '10' } }));
    const part = target('/live/demo/720p/10.0.m4s');
    expect((await get(part)).madeAtMs).toBe(clock.nowMs() - 10_000);
    clock.advance(2_001);
    await get(part);
    expect(origins.requests).toHaveLength(2);
  });

  it('keeps a playlist without directives for a quarter of a second only, and what is private not at all', async () => {
    await get(PLAIN);
    clock.advance(249);
    await get(PLAIN);
    clock.advance(2);
    await get(PLAIN);
    expect(origins.requests).toHaveLength(2);
    origins.answer(() => ({ body: 'x', headers: { 'cache-control': 'private, max-age=60' } }));
    for (let i = 0; i < 2; i++) await get(target('/live/demo/720p/11.m4s'));
    expect(origins.requests).toHaveLength(4);
  });

  it('passes on that a viewer may not, and asks again for the next', async () => {
    origins.answer(() => ({ status: 401, body: '{}', headers: LASTING }));
    expect(await outcome(PLAIN)).toBe(401);
    expect(await outcome(PLAIN)).toBe(401);
    expect(origins.requests).toHaveLength(2);
  });

  it('leaves an origin that is silent past the time a part is due, and stays with the one that answers', async () => {
    start(A, B);
    await get(PLAIN);
    const first = origins.requests[0]?.startsWith(A) ? A : B;
    origins.answer((url) => (url.startsWith(first) ? 'hang' : { body: playlist(10, 1), headers: LASTING }));
    const waiting = textOf(get(reload(10, 1)));
    await settle();
    // Due in 0.5 s: held that long by right, then for the margin.
    clock.advance(500 + MARGIN_MS - 1);
    await settle();
    expect(origins.requests).toHaveLength(2);
    clock.advance(1);
    expect(await waiting).toBe(playlist(10, 1));
    expect(origins.aborted).toBe(1);
    await get(reload(10, 2));
    expect(origins.requests.at(-1)?.startsWith(first)).toBe(false);
    expect(origins.requests).toHaveLength(4);
  });

  it('takes the answer of a slow origin when it comes while the other is asked', async () => {
    start(A, B);
    let answerLate: (answer: { body: string }) => void = () => undefined;
    let first = true;
    origins.answer(() => {
      if (!first) return 'hang';
      first = false;
      return new Promise((resolve) => (answerLate = resolve));
    });
    const waiting = textOf(get(target('/live/demo/720p/9.m4s')));
    await settle();
    clock.advance(MARGIN_MS);
    await settle();
    expect(origins.requests).toHaveLength(2);
    answerLate({ body: 'late' });
    expect(await waiting).toBe('late');
  });

  it.each([
    ['hang', '404 origin_silent'],
    ['fail', '404 origin_silent'],
    [{ status: 503, body: '' }, '404 origin_silent'],
    [{ status: 302, body: '', headers: { location: 'http://evil.example' } }, '404 origin_silent'],
    [{ body: '<html>' }, '502 origin_answer_invalid'],
    [{ body: `#EXTM3U\n${'#x\n'.repeat(400_000)}` }, '502 origin_answer_invalid'],
    [{ body: playlist(10, 0).slice(0, -4) }, '502 origin_answer_invalid'],
    [{ body: playlist(10, 0), headers: { 'content-length': '99999' } }, '502 origin_answer_invalid'],
    [{ body: playlist(10, 0), headers: { 'content-encoding': 'br' } }, '502 origin_answer_invalid'],
  ] as const)('says when the only origin answers %j', async (answer, said) => {
    origins.answer(() => answer);
    const waiting = outcome(PLAIN);
    await settle();
    clock.advance(MARGIN_MS);
    expect(await waiting).toBe(said);
    origins.answer(() => ({ body: playlist(10, 0) }));
    expect(await outcome(PLAIN)).toBe(200);
  });

  it('gives the playlist as it is to those who wait for a late broadcaster, and keeps it for nobody', async () => {
    await get(PLAIN);
    origins.answer((url) =>
      url.includes('_HLS_msn') ? 'hang' : { body: playlist(10, 0), headers: LASTING },
    );
    const waiting = get(reload(10, 1));
    await settle();
    clock.advance(500 + MARGIN_MS);
    await settle();
    expect(await waiting).toMatchObject({ status: 200, cacheControl: 'no-cache' });
    const again = get(reload(10, 1));
    await settle();
    expect(origins.requests.filter((url) => url.includes('_HLS_msn'))).toHaveLength(2);
    clock.advance(MARGIN_MS);
    expect(await again).toMatchObject({ status: 200 });
  });

  it('gives the last good ladder for a minute when no origin answers, and 503 after that', async () => {
    origins.answer(() => ({ body: MASTER }));
    await get(LADDER);
    origins.answer(() => 'fail');
    clock.advance(59_000);
    expect(await textOf(get(LADDER))).toBe(MASTER);
    clock.advance(2_000);
    expect(await outcome(LADDER)).toBe('503 origin_silent');
  });

  it('frees a waiter at its own deadline though the shared request never ends', async () => {
    // As in a Worker whose request was ended: nothing of it goes on, not even its timers. The waiter's own comes first.
    const stuck = { ...deps, fetch: () => new Promise<never>(() => undefined) };
    let timers = 0;
    const waiterOnly = {
      nowMs: () => clock.nowMs(),
      after: (ms: number, run: () => void) =>
        timers++ === 0 ? clock.after(ms, run) : { cancel: () => undefined },
    };
    upstream = new Upstream(
      { ...stuck, clock: waiterOnly },
      { originUrls: [A], pullToken: '', memoryBytesMax: 1024, firstByteMarginMs: MARGIN_MS },
    );
    const waiting = outcome(PLAIN);
    await settle();
    clock.advance(60_000);
    expect(await waiting).toBe('404 origin_silent');
    expect(deps.counters.get('edge_late_waiters_total')).toBe(1);
    void outcome(PLAIN);
    expect(deps.counters.get('edge_answers_total', 'from="waiter"')).toBe(0);
  });

  it(`turns away what comes while ${FLIGHTS_MAX} requests are under way`, async () => {
    origins.answer(() => 'hang');
    const waiting = Array.from({ length: FLIGHTS_MAX }, (_, msn) =>
      outcome(target(`/live/demo/720p/${msn}.m4s`)),
    );
    expect(await outcome(target('/live/demo/720p/99999.m4s'))).toBe('503 edge_busy');
    expect(deps.counters.get('edge_overflows_total')).toBe(1);
    await settle();
    clock.advance(MARGIN_MS);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['404 origin_silent']));
    origins.answer(() => ({ body: 'x' }));
    expect(await outcome(target('/live/demo/720p/99999.m4s'))).toBe(200);
  });

  it('keeps no more bytes than it may, and forgets what was used longest ago', async () => {
    origins.answer(() => ({ body: 'x'.repeat(200_000), headers: LASTING }));
    for (let msn = 0; msn < 10; msn++) await get(target(`/live/demo/720p/${msn}.m4s`));
    expect(deps.counters.text()).toMatch(/edge_memory_answers 5\n/);
    await get(target('/live/demo/720p/9.m4s'));
    expect(origins.requests).toHaveLength(10);
    await get(target('/live/demo/720p/0.m4s'));
    expect(origins.requests).toHaveLength(11);
  });
});
