import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { probeCdn } from '#steering/probe/cdn-probe.ts';
import { OriginReference } from '#steering/probe/origin-reference.ts';
import { ProbePasses } from '#steering/probe/probe-passes.ts';
import { ProbeUnjudged } from '#steering/probe/probe-failure.ts';
import { sampleScore, type ProbeSample } from '#steering/probe/probe-sample.ts';
import { TargetGuard, TargetRefusedError, type ResolveName } from '#runtime/outbound/target-guard.ts';
import { startFaultProxy, type FaultProxy } from '#tests/support/fault-proxy.ts';
import { startFaultyCdn, type FaultyCdn, type HttpFault } from '#tests/support/faulty-cdn.ts';
import { startSyntheticOrigin, type SyntheticOrigin } from '#tests/support/synthetic-ll-hls.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const clock = systemClock;
const resolve: ResolveName = () =>
  Promise.reject(new TargetRefusedError('name_not_resolved', 'no names here'));
const guard = new TargetGuard(['127.0.0.1', 'gone.example', 'rebind.example']);
const passes = new ProbePasses(undefined, () => false, clock);
const never = new AbortController().signal;

describe('a probe against real servers', () => {
  let origin: SyntheticOrigin;
  let cdn: FaultyCdn;
  let proxy: FaultProxy;
  let reference: OriginReference;
  let turn = 0;

  beforeAll(async () => {
    origin = await startSyntheticOrigin();
    cdn = await startFaultyCdn(origin.url);
    proxy = await startFaultProxy(cdn.port);
    reference = new OriginReference([origin.url], {
      clock,
      resolve,
      logger: createLogger('test', 'silent'),
      passes,
    });
  });
  afterAll(async () => {
    await proxy.close();
    await cdn.close();
    await origin.close();
  });
  afterEach(async () => {
    cdn.fault = { kind: 'none' };
    await proxy.heal();
  });

  const probe = async (
    baseUrl = proxy.url,
    resolver: ResolveName = resolve,
    signal: AbortSignal = never,
  ): Promise<ProbeSample> => {
    const round = await reference.take('demo', turn++, never);
    return probeCdn({ cdn: 'a', baseUrl }, round, turn, { clock, guard, resolve: resolver }, signal);
  };

  it('measures every stage of a healthy CDN and gives it a full score', async () => {
    const sample = await probe();
    expect(sample).toMatchObject({ cdn: 'a', streamId: 'demo', verdict: 'measured', reasons: [] });
    expect(sampleScore(sample)).toBe(1);
    expect(Object.keys(sample.stagesMs).sort()).toEqual(
      ['dns', 'hold', 'multivariant', 'part', 'playlist', 'tcp'].sort(),
    );
    expect(Object.keys(sample.components).sort()).toEqual(
      ['age', 'availability', 'connect', 'content', 'freshness', 'goodput', 'hold', 'ttfb'].sort(),
    );
    expect(sample.stagesMs.hold).toBeGreaterThan(1);
    expect(sample.goodputBps).toBeGreaterThan(0);
  });

  it('asks as a player does, and takes the lower rungs in turn', async () => {
    origin.requests.length = 0;
    turn = 0;
    for (let round = 0; round < 4; round++) await probe();
    const viaBoth = origin.requests.filter((path) => path.includes('_HLS_msn'));
    expect(viaBoth.length).toBe(8);
    expect(viaBoth.filter((path) => path.includes('/r1/')).length).toBe(2);
    expect(viaBoth[0]).toMatch(/^\/live\/demo\/r0\/index\.m3u8\?_HLS_msn=\d+&_HLS_part=\d+$/);
  });

  it.each<[string, HttpFault, string]>([
    ['404', { kind: 'status', status: 404 }, 'status_4xx'],
    ['503', { kind: 'status', status: 503 }, 'status_5xx'],
    ['a redirect, not followed', { kind: 'redirect', location: 'http://127.0.0.1:1/' }, 'redirect'],
    ['a reload that is never answered', { kind: 'hang_reload' }, 'hold_timeout'],
    ['a reload answered without the part', { kind: 'no_blocking' }, 'reload_without_part'],
    ['one wrong byte', { kind: 'wrong_bytes' }, 'bytes_differ'],
    ['a body that ends early', { kind: 'truncated' }, 'truncated'],
    ['a part that is too short', { kind: 'short' }, 'truncated'],
    ['an error page with status 200', { kind: 'body', text: '<html>' }, 'playlist_invalid'],
    ['headers without end', { kind: 'huge_headers' }, 'headers_too_large'],
  ])('fails on %s', async (_, fault, reason) => {
    await probe();
    cdn.fault = fault;
    const sample = await probe();
    expect(sample).toMatchObject({ verdict: 'failed', reasons: [reason] });
    expect(sampleScore(sample)).toBe(0);
  });

  it('fails on a playlist that no longer moves', async () => {
    turn = 0;
    await probe();
    cdn.fault = { kind: 'frozen' };
    const sample = await waitFor('the playlist to be old', async () => {
      turn = 0;
      const next = await probe();
      expect(next.verdict).toBe('failed');
      return next.reasons[0] === 'playlist_frozen' ? next : undefined;
    });
    expect(sample.components.freshness).toBe(0);
  });

  it.each(['86400', '30', 'soon'])('scores an Age of %s down when the content is fresh', async (age) => {
    cdn.fault = { kind: 'age', age };
    const sample = await probe();
    expect(sample).toMatchObject({ verdict: 'measured', reasons: ['age_wrong'], components: { age: 0 } });
  });

  it('takes an honest Age', async () => {
    cdn.fault = { kind: 'age', age: '1' };
    expect(sampleScore(await probe())).toBe(1);
  });

  it.each([
    ['refused', () => proxy.refuse(), 'connect_refused'],
    ['swallowed', async () => proxy.set({ blackhole: true }), 'no_answer'],
    ['reset', async () => proxy.set({ reset: true }), 'reset'],
    ['frozen', async () => proxy.set({ freeze: true }), 'no_answer'],
  ])('fails on connections that are %s', async (_, fault, reason) => {
    await fault();
    const sample = await probe();
    expect(sample.verdict).toBe('failed');
    expect(sample.reasons[0]).toBe(reason);
  });

  it('scores a slow first byte and a late part down', async () => {
    proxy.set({ down: { delayMs: 700 } });
    const sample = await probe();
    expect(sample.verdict).toBe('measured');
    expect(sample.components.ttfb).toBeLessThan(0.5);
    expect(sample.reasons).toContain('slow_ttfb');
  });

  it('scores goodput below the top rung down, whether the part ends in time or not', async () => {
    turn = 0;
    proxy.set({ down: { bytesPerSecond: 60_000 } });
    const sample = await probe();
    expect(sample).toMatchObject({ verdict: 'measured' });
    expect(sample.reasons).toContain('slow_goodput');
    expect(sample.components.goodput).toBeLessThan(0.2);
  });

  it('fails on a name that does not resolve', async () => {
    expect(await probe('http://gone.example')).toMatchObject({ verdict: 'failed', reasons: ['dns_failed'] });
  });

  it('does not connect where it must not', async () => {
    const inside = createServer();
    inside.listen(0, '127.0.0.1');
    await once(inside, 'listening');
    let connections = 0;
    inside.on('connection', (socket) => {
      connections++;
      socket.destroy();
    });
    const { port } = inside.address() as AddressInfo;
    const strict = new TargetGuard();
    const targets: readonly [string, ResolveName, ProbeSample['verdict']][] = [
      [`https://localhost:${port}`, () => Promise.resolve(['127.0.0.1']), 'failed'],
      [`https://rebind.attacker.example:${port}`, () => Promise.resolve(['::ffff:127.0.0.1']), 'failed'],
      // What is wrong with the URL itself says nothing of what viewers get.
      [`https://2130706433:${port}`, resolve, 'unjudged'],
      [`http://127.0.0.1:${port}`, resolve, 'unjudged'],
    ];
    for (const [baseUrl, resolver, verdict] of targets) {
      const round = await reference.take('demo', turn++, never);
      const deps = { clock, guard: strict, resolve: resolver };
      expect(await probeCdn({ cdn: 'a', baseUrl }, round, 0, deps, never)).toMatchObject({
        verdict,
        reasons: ['target_refused'],
      });
    }
    inside.close();
    expect(connections).toBe(0);
  });

  it('resolves once and stays with that address for the whole probe', async () => {
    let asked = 0;
    const rebinding: ResolveName = () => Promise.resolve(asked++ === 0 ? ['127.0.0.1'] : ['127.0.0.2']);
    const sample = await probe(`http://rebind.example:${proxy.port}`, rebinding);
    expect(sample.verdict).toBe('measured');
    expect(asked).toBe(1);
  });

  it('ends at once when aborted, and says nothing of the CDN', async () => {
    proxy.set({ blackhole: true });
    const abort = new AbortController();
    const sample = probe(proxy.url, resolve, abort.signal);
    await waitFor('the connection', () => proxy.connections > 0);
    abort.abort();
    expect(await sample).toMatchObject({ verdict: 'unjudged', unjudgedBecause: 'aborted' });
  });
});

describe('a probe while the origin has nothing new', () => {
  it('does not judge the CDN', async () => {
    const origin = await startSyntheticOrigin();
    const cdn = await startFaultyCdn(origin.url);
    const logger = createLogger('test', 'silent');
    const reference = new OriginReference([origin.url], { clock, resolve, logger, passes });
    const take = (round: number): ReturnType<OriginReference['take']> => reference.take('demo', round, never);
    const probe = async (): Promise<ProbeSample> =>
      probeCdn({ cdn: 'a', baseUrl: cdn.url }, await take(0), 0, { clock, guard, resolve }, never);

    origin.setLive(false);
    expect(await probe()).toMatchObject({ verdict: 'unjudged', unjudgedBecause: 'reference_stale' });
    cdn.fault = { kind: 'status', status: 404 };
    expect(await probe()).toMatchObject({ verdict: 'unjudged', unjudgedBecause: 'reference_stale' });
    origin.setLive(true);
    origin.end();
    await expect(take(1)).rejects.toMatchObject({ code: 'stream_ended' });
    await origin.close();
    await expect(take(2)).rejects.toBeInstanceOf(ProbeUnjudged);
    await cdn.close();
  });
});
