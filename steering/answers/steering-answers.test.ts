import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pathwayPriority } from '#protocol/steering/pathway-priority.ts';
import {
  importTokenMac,
  newSessionId,
  pathwayTag,
  signSessionToken,
  signSessionTokenAsync,
  type SessionClaims,
} from '#protocol/steering/session-token.ts';
import { checkSteeringManifest, type SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import {
  SteeringAnswers,
  type SteeringObservation,
  type SteeringRequest,
} from '#steering/answers/steering-answers.ts';
import { nodeTokenMac } from '#steering/answers/token-keys.ts';
import { TtlPolicy } from '#steering/answers/ttl-policy.ts';
import { DemandMeter } from '#steering/demand/demand-meter.ts';
import { ViewerCredit } from '#steering/demand/viewer-credit.ts';
import { SessionSample } from '#steering/demand/session-sample.ts';
import { anySnapshot, currentPicture, snapshotCdn, snapshotOf } from '#tests/support/steering-fixtures.ts';

const SECRET = new Uint8Array(32).fill(5);
const KEY = nodeTokenMac({ id: 3, secret: SECRET });
const OLD_KEY = nodeTokenMac({ id: 2, secret: new Uint8Array(32).fill(4) });
const THREE = snapshotOf([snapshotCdn('a'), snapshotCdn('b'), snapshotCdn('c')]);

function answering(options: { snapshot?: SteeringSnapshot; clock?: FakeClock } = {}) {
  const clock = options.clock ?? new FakeClock();
  const metrics = createMetrics('test');
  const demand = new DemandMeter({ clock, metrics });
  const observations: SteeringObservation[] = [];
  let snapshot = options.snapshot ?? THREE;
  const answers = new SteeringAnswers({
    clock,
    metrics,
    demand,
    logger: createLogger('test', 'silent'),
    picture: () => currentPicture(snapshot),
    keys: [KEY, OLD_KEY],
    ttl: new TtlPolicy({ steadyMeanS: 25, eventMeanS: 7 }, { clock, metrics, utilization: () => 0 }),
    credit: new ViewerCredit({ perAddressMax: 1_000 }, { clock, metrics }),
    sample: new SessionSample(),
    observe: (observation) => observations.push(observation),
  });
  const ask = (change: Partial<SteeringRequest> = {}): SteeringManifest =>
    JSON.parse(
      answers.answer({
        streamId: 'live',
        query: '',
        base: 'https://steering.example',
        origin: { country: undefined, asn: undefined },
        address: undefined,
        ...change,
      }),
    ) as SteeringManifest;
  const setSnapshot = (next: SteeringSnapshot): void => void (snapshot = next);
  return { answers, ask, clock, metrics, demand, observations, setSnapshot };
}

/** The query that a player sends back: that of the RELOAD-URI, and what it adds. */
const follow = (manifest: SteeringManifest, more = ''): string =>
  manifest['RELOAD-URI'].slice(manifest['RELOAD-URI'].indexOf('?') + 1) + more;

const liveNames = ({ cdns, streams }: SteeringSnapshot): string[] =>
  cdns.filter((c) => c.enabled && (streams['live']?.[c.name] ?? c.health) > 0).map((c) => c.name);

describe('§8.1 whatever is asked, in whatever picture', () => {
  const part = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('session=', '&', '_HLS_pathway=', '_DASH_pathway=%22', '_HLS_throughput=-1', '%', ','),
    fc.stringMatching(/^B[A-Za-z0-9_-]{90}$/),
  );
  const query = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(''));

  it('the answer is a valid manifest of what lives', () => {
    fc.assert(
      fc.property(anySnapshot, query, (snapshot, text) => {
        const { ask } = answering({ snapshot });
        const live = liveNames(snapshot);
        const dead = snapshot.cdns.map((c) => c.name).filter((name) => !live.includes(name));
        expect(checkSteeringManifest(ask({ query: text }), { live, dead, https: true })).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('a session gets the list that its hash and the picture say, on and on', () => {
    fc.assert(
      fc.property(anySnapshot, fc.integer({ min: 1, max: 4 }), (snapshot, rounds) => {
        const { ask, clock } = answering({ snapshot });
        let manifest = ask();
        const first = manifest['PATHWAY-PRIORITY'];
        for (let i = 0; i < rounds; i++) {
          clock.advance(manifest.TTL * 1_000);
          manifest = ask({ query: follow(manifest, '&_HLS_pathway=a') });
          expect(manifest['PATHWAY-PRIORITY']).toEqual(first);
        }
      }),
    );
  });

  it('even when something of ours is broken, the player gets every enabled pathway', async () => {
    const broken = snapshotOf([snapshotCdn('a', { weight: 1 }), snapshotCdn('b', { weight: 5 })]);
    const { ask, metrics } = answering({ snapshot: { ...broken, streams: null as never } });
    const manifest = ask();
    expect(checkSteeringManifest(manifest, { https: true })).toEqual([]);
    expect(manifest['PATHWAY-PRIORITY']).toEqual(['b', 'a']);
    expect(await metrics.metrics()).toContain('steering_answer_failures_total{service="test"} 1');
  });
});

describe('a session', () => {
  it('follows its CDN when another changes, and leaves it when that is drained', () => {
    const { ask, setSnapshot } = answering();
    const before = ask();
    const [home = ''] = before['PATHWAY-PRIORITY'];
    const others = ['a', 'b', 'c'].filter((name) => name !== home);
    const weigh = (name: string, weight: number): void =>
      setSnapshot(snapshotOf(THREE.cdns.map((c) => (c.name === name ? snapshotCdn(name, { weight }) : c))));
    weigh(others[0]!, 1);
    expect(ask({ query: follow(before) })['PATHWAY-PRIORITY'][0]).toBe(home);
    weigh(home, 0);
    const drained = ask({ query: follow(before) })['PATHWAY-PRIORITY'];
    expect(drained).toEqual([...before['PATHWAY-PRIORITY'].slice(1), home]);
  });

  it('begun by the edge, with WebCrypto, gets the list that the edge has computed', async () => {
    const edgeKey = await importTokenMac({ id: 3, secret: SECRET });
    const { ask, clock } = answering();
    const sessionId = newSessionId();
    const issuedAtS = Math.floor(clock.nowMs() / 1_000);
    const claims: SessionClaims = {
      sessionId,
      issuedAtS,
      expiresAtS: issuedAtS + 3_600,
      generation: 9,
      ttlS: 0,
      rhythm: 'none',
      assignedTag: 0,
    };
    const token = await signSessionTokenAsync(claims, 'live', edgeKey);
    const who = { sessionId, streamId: 'live', generation: 9, country: undefined, asn: undefined };
    const edge = pathwayPriority(currentPicture(THREE).prepared, who);
    expect(ask({ query: `session=${token}` })['PATHWAY-PRIORITY']).toEqual(edge);
  });

  it('goes on with the key before, and is handed over to the new one', () => {
    const { ask, clock } = answering();
    const issuedAtS = Math.floor(clock.nowMs() / 1_000);
    const claims: SessionClaims = {
      sessionId: newSessionId(),
      issuedAtS,
      expiresAtS: issuedAtS + 100,
      generation: 9,
      ttlS: 25,
      rhythm: 'steady',
      assignedTag: 1,
    };
    const manifest = ask({ query: `session=${signSessionToken(claims, 'live', OLD_KEY)}` });
    const token = follow(manifest).slice('session='.length);
    expect(token).toContain(claims.sessionId);
    expect(token.slice(1, 3)).toBe('AD');
  });

  it.each([
    ['forged', (token: string) => token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A')],
    ['cut off', (token: string) => token.slice(0, 40)],
    ['of another stream', (token: string) => token],
    ['nonsense', () => '%00%ff<script>'],
  ])('with a token that is %s gets a fresh default answer', (name, change) => {
    const { ask } = answering();
    const streamId = name === 'of another stream' ? 'other' : 'live';
    const token = follow(ask()).slice('session='.length);
    const manifest = ask({ streamId, query: `session=${change(token)}` });
    expect(checkSteeringManifest(manifest, { live: ['a', 'b', 'c'], https: true })).toEqual([]);
    expect(follow(manifest)).not.toContain(token.slice(3, 23));
  });

  it('that slept for longer than its token lives begins anew', () => {
    const { ask, clock } = answering();
    const manifest = ask();
    clock.advance(25 * 3_600_000);
    expect(follow(ask({ query: follow(manifest) })).slice(11, 31)).not.toBe(follow(manifest).slice(11, 31));
  });

  it('stays itself when the clock of the node jumps by ten minutes, either way', () => {
    for (const jumpMs of [600_000, -600_000]) {
      const { ask, clock } = answering();
      const manifest = ask();
      clock.stepWallClock(jumpMs);
      const next = ask({ query: follow(manifest) });
      expect(next['PATHWAY-PRIORITY']).toEqual(manifest['PATHWAY-PRIORITY']);
      expect(follow(next).slice(11, 31)).toBe(follow(manifest).slice(11, 31));
      expect(checkSteeringManifest(next, { https: true })).toEqual([]);
    }
  });

  it('keeps the generation of its playlist, so that it is told of no pathway it cannot know', () => {
    const { ask, setSnapshot } = answering();
    const manifest = ask();
    const added = snapshotCdn('new', { addedGeneration: 10, weight: 1_000 });
    setSnapshot(snapshotOf([...THREE.cdns, added], { generation: 10 }));
    const second = ask({ query: follow(manifest) });
    expect(second['PATHWAY-PRIORITY']).not.toContain('new');
    expect(ask({ query: follow(second) })['PATHWAY-PRIORITY']).not.toContain('new');
    expect(ask()['PATHWAY-PRIORITY']).toContain('new');
  });
});

describe('TTL', () => {
  it('is short while an event is open and within ±30 % of 25 s once a session is steady', () => {
    const { ask, setSnapshot } = answering();
    const steady = Array.from({ length: 300 }, () => ask({ query: follow(ask()) }).TTL);
    expect(Math.min(...steady)).toBeGreaterThanOrEqual(18);
    expect(Math.max(...steady)).toBeLessThanOrEqual(32);
    setSnapshot({ ...THREE, event: true });
    const quick = Array.from({ length: 300 }, () => ask().TTL);
    expect(Math.min(...quick)).toBeGreaterThanOrEqual(5);
    expect(Math.max(...quick)).toBeLessThanOrEqual(9);
  });
});

describe('demand', () => {
  it('counts a player in a loop as one viewer, whatever it does', () => {
    const { ask, demand, clock } = answering({ snapshot: snapshotOf([snapshotCdn('a')]) });
    let manifest = ask();
    for (let i = 0; i < 600; i++) {
      clock.advance(100);
      manifest = ask({ query: follow(manifest) });
    }
    expect(demand.read().cdns['a']).toBeLessThan(3);
    expect(demand.read().cdns['a']).toBeGreaterThan(0.3);
  });

  it('counts one viewer for a token that is sent again and again, from wherever', () => {
    const { ask, clock, demand } = answering();
    const stolen = follow(ask());
    clock.advance(60_000);
    for (let i = 0; i < 500; i++) {
      ask({ query: stolen, address: `198.51.100.${i % 250}` });
      clock.advance(100);
    }
    const viewers = Object.values(demand.read().cdns).reduce((sum, count) => sum + count, 0);
    expect(viewers).toBeLessThanOrEqual(1);
  });

  it('counts as many viewers as there are, for any mix of TTLs', () => {
    const { ask, demand, clock } = answering({ snapshot: snapshotOf([snapshotCdn('a')]) });
    const viewers = Array.from({ length: 200 }, (_, i) => ({ dueMs: i * 20, manifest: ask() }));
    for (let nowMs = 0; nowMs < 120_000; nowMs += 500) {
      for (const viewer of viewers.filter(({ dueMs }) => dueMs <= nowMs)) {
        viewer.manifest = ask({ query: follow(viewer.manifest) });
        viewer.dueMs = nowMs + viewer.manifest.TTL * 1_000;
      }
      clock.advance(500);
    }
    expect(Math.abs((demand.read().cdns['a'] ?? 0) / 200 - 1)).toBeLessThan(0.1);
  });
});

describe('observations', () => {
  it('say what the player reports, whether it is one of ours, and where it was sent before', () => {
    const { ask, observations, clock } = answering();
    const first = ask({ query: '_HLS_pathway=a&_HLS_throughput=5000000' });
    expect(observations[0]).toMatchObject({ authentic: false, assigned: undefined, early: false });
    expect(observations[0]?.pathways).toEqual([{ id: 'a', throughputBps: 5_000_000 }]);
    clock.advance(2_000);
    ask({ query: follow(first, '&_DASH_pathway=%22b,a%22') });
    const assigned = first['PATHWAY-PRIORITY'][0];
    expect(observations[1]).toMatchObject({ authentic: true, assigned, early: true });
    expect(observations[1]?.pathways.at(-1)).toEqual({ id: 'a', throughputBps: undefined });
  });

  it('tell pathways apart by 18 bits of their names', () => {
    const tags = new Set(Array.from({ length: 64 }, (_, i) => pathwayTag(`cdn-${i}`)));
    expect(tags.size).toBe(64);
  });
});
