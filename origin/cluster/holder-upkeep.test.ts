import { beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '#runtime/log.ts';
import { HeldStreams } from '#origin/cluster/held-streams.ts';
import { CUT_OFF_MS, HolderUpkeep } from '#origin/cluster/holder-upkeep.ts';
import type { Membership } from '#origin/cluster/membership.ts';
import type { NodeState } from '#origin/cluster/node-state.ts';
import type { PeerCall, PeerClient } from '#origin/cluster/peer-client.ts';
import { createTestOrigin, TestPublisher, type TestOrigin } from '#origin/live/testing/test-publisher.ts';

const [OWN, OTHER, THIRD] = ['http://own', 'http://other', 'http://third'] as const;

describe('the upkeep of a stream’s holders', () => {
  let origin: TestOrigin;
  let publisher: TestPublisher;
  let held: HeldStreams;
  let upkeep: HolderUpkeep;
  let alive: Set<string>;
  let calls: { readonly url: string; readonly call: PeerCall }[];

  beforeEach(() => {
    origin = createTestOrigin();
    publisher = new TestPublisher(origin).begin().putSegments(2);
    alive = new Set([OWN, OTHER, THIRD]);
    states = [];
    calls = [];
    const membership = {
      states: () => states,
      isAlive: (url: string) => alive.has(url),
      isLeaving: () => false,
    } as unknown as Membership;
    held = new HeldStreams({ ownUrl: OWN, live: origin.streams, membership });
    const call = (url: string, made: PeerCall): Promise<void> => {
      calls.push({ url, call: made });
      return Promise.resolve();
    };
    upkeep = new HolderUpkeep({
      ownUrl: OWN,
      clock: origin.clock,
      logger: createLogger('test', 'silent'),
      metrics: origin.metrics,
      live: origin.streams,
      peers: { call } as unknown as PeerClient,
      membership,
      held,
      choose: () => [OWN, OTHER, THIRD].filter((url) => alive.has(url)),
      onChange: () => undefined,
    });
    held.put(listOf(1, OWN, OTHER));
    otherHas(1, [OWN, OTHER]);
  });

  let states: NodeState[];
  const listOf = (version: number, ...nodeUrls: string[]) => ({
    streamId: 'show',
    sessionId: publisher.sessionId,
    fencingToken: 1,
    version,
    nodeUrls,
  });
  const otherHas = (version: number, nodeUrls: string[], isStale = false): void => {
    const status = { ...publisher.stream.status, renditions: [], isStale };
    states = [
      {
        nodeUrl: OTHER,
        startedAtMs: 0,
        draining: false,
        load: 1,
        stateVersion: 1,
        sessions: [],
        held: [{ holders: listOf(version, ...nodeUrls), status }],
      },
    ];
    held.forgetOthers();
  };

  it('changes nothing while both have it', async () => {
    await upkeep.check();
    expect(calls).toEqual([]);
    expect(held.ofOwn('show')?.version).toBe(1);
  });

  it('gives the stream to a third one when the other has gone', async () => {
    alive.delete(OTHER);
    states = [];
    held.forgetOthers();
    await upkeep.check();
    expect(calls.map(({ url, call }) => `${url} ${call.path}`)).toEqual([
      `${THIRD} /internal/v1/streams/show/adopt`,
    ]);
    expect(held.ofOwn('show')).toMatchObject({ version: 2, nodeUrls: [OWN, THIRD] });
  });

  it('lets go of what others hold without it', async () => {
    otherHas(3, [OTHER, THIRD]);
    await upkeep.check();
    expect(origin.streams.get('show')).toBeUndefined();
  });

  it('lets go of a stream whose parts reach the other one only, but not of one that nobody gets', async () => {
    origin.clock.advance(6_000);
    expect(publisher.stream.status.isStale).toBe(true);
    otherHas(1, [OWN, OTHER], true);
    await upkeep.check();
    origin.clock.advance(CUT_OFF_MS);
    await upkeep.check();
    expect(origin.streams.get('show')).toBeDefined();
    otherHas(1, [OWN, OTHER], false);
    await upkeep.check();
    expect(origin.streams.get('show')).toBeDefined();
    origin.clock.advance(CUT_OFF_MS);
    await upkeep.check();
    expect(origin.streams.get('show')).toBeUndefined();
  });
});
