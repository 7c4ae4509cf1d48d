import { beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '#runtime/log.ts';
import { HeldStreams } from '#origin/cluster/held-streams.ts';
import type { ClusterNode, Membership } from '#origin/cluster/membership.ts';
import type { PeerClient } from '#origin/cluster/peer-client.ts';
import type { NodeState } from '#origin/cluster/node-state.ts';
import { StreamTimelines } from '#origin/cluster/stream-timelines.ts';
import { createTestOrigin } from '#origin/live/testing/test-publisher.ts';

const STREAMS = Array.from({ length: 2_000 }, (_, index) => `stream-${index}`);
const OWN = 'http://node-0';
const urlsOf = (...numbers: number[]): string[] => numbers.map((number) => `http://node-${number}`);
const STATUS: NodeState['held'][number]['status'] = {
  lastMsn: 1,
  lastPart: 0,
  renditions: [],
  waiters: 0,
  timelines: 1,
  windowBytes: 0,
  state: 'live',
  isStale: false,
};

describe('choosing the origins of a stream', () => {
  let peers: ClusterNode[];
  let states: NodeState[];
  let timelines: StreamTimelines;
  let held: HeldStreams;

  beforeEach(() => {
    peers = [];
    states = [];
    const { streams: live } = createTestOrigin();
    const membership = {
      livePeers: () => peers,
      states: () => states,
      isAlive: () => true,
    } as unknown as Membership;
    held = new HeldStreams({ ownUrl: OWN, live, membership });
    timelines = new StreamTimelines({
      ownUrl: OWN,
      logger: createLogger('test', 'silent'),
      live,
      peers: {} as PeerClient,
      membership,
      held,
      onNamed: () => undefined,
    });
  });
  const peersAre = (...numbers: number[]): void => {
    peers = urlsOf(...numbers).map((url) => ({ url, draining: false, load: 0 }));
  };
  const chooseAll = (): Map<string, string[]> => new Map(STREAMS.map((id) => [id, timelines.choose(id)]));
  /** Makes the peers say that they hold the streams as chosen; those of this origin itself are left out. */
  const underWay = (chosen: ReadonlyMap<string, string[]>): void => {
    states = peers.map(({ url }) => ({
      nodeUrl: url,
      startedAtMs: 0,
      draining: false,
      load: 0,
      stateVersion: 1,
      sessions: [],
      held: [...chosen].flatMap(([streamId, nodeUrls]) =>
        nodeUrls.includes(url)
          ? [{ holders: { streamId, sessionId: 's', fencingToken: 1, version: 1, nodeUrls }, status: STATUS }]
          : [],
      ),
    }));
    held.forgetOthers();
  };

  it('gives every origin its share, as owner and as the second', () => {
    peersAre(1, 2, 3);
    const chosen = chooseAll();
    for (const place of [0, 1])
      for (const url of [OWN, ...urlsOf(1, 2, 3)]) {
        const share = [...chosen.values()].filter((nodeUrls) => nodeUrls[place] === url).length;
        expect(share / STREAMS.length).toBeGreaterThan(0.2);
        expect(share / STREAMS.length).toBeLessThan(0.3);
      }
    expect([...chosen.values()].every((nodeUrls) => new Set(nodeUrls).size === 2)).toBe(true);
  });

  it('moves to a node that joins only its share, and nothing between the others', () => {
    peersAre(1, 2, 3);
    const before = chooseAll();
    peersAre(1, 2, 3, 4);
    const [joined] = urlsOf(4) as [string];
    let moved = 0;
    for (const [id, nodeUrls] of chooseAll()) {
      const old = before.get(id) ?? [];
      if (nodeUrls.includes(joined)) moved += 1;
      expect(nodeUrls.filter((url) => url !== joined && !old.includes(url))).toEqual([]);
    }
    // Two of five places of each stream.
    expect(moved / STREAMS.length).toBeGreaterThan(0.35);
    expect(moved / STREAMS.length).toBeLessThan(0.45);
  });

  it('replaces a node that leaves, and leaves all other holders where they are', () => {
    peersAre(1, 2, 3);
    const before = chooseAll();
    peersAre(1, 2);
    const [left] = urlsOf(3) as [string];
    for (const [id, nodeUrls] of chooseAll()) {
      const stayed = before.get(id)?.filter((url) => url !== left) ?? [];
      expect(nodeUrls.slice(0, stayed.length)).toEqual(stayed);
    }
  });

  it('leaves streams that are under way where they are when a node joins', () => {
    peersAre(1, 2, 3);
    const elsewhere = new Map([...chooseAll()].filter(([, nodeUrls]) => !nodeUrls.includes(OWN)));
    expect(elsewhere.size).toBeGreaterThan(500);
    peersAre(1, 2, 3, 4, 5);
    underWay(elsewhere);
    for (const [id, nodeUrls] of elsewhere) expect(timelines.choose(id)).toEqual(nodeUrls);
  });

  it('gives nothing to a node that is about to leave, unless there is no other', () => {
    peersAre(1, 2);
    peers = peers.map((peer) => ({ ...peer, draining: peer.url === 'http://node-1' }));
    for (const nodeUrls of chooseAll().values()) expect(nodeUrls.toSorted()).toEqual([OWN, 'http://node-2']);
    held.drain();
    for (const id of STREAMS.slice(0, 50)) expect(timelines.choose(id)[0]).toBe('http://node-2');
    peersAre();
    expect(timelines.choose('alone')).toEqual([OWN]);
  });

  it('passes over a node that holds far more than its share', () => {
    peersAre(1, 2, 3);
    peers = peers.map((peer) => ({ ...peer, load: peer.url === 'http://node-1' ? 100 : 10 }));
    for (const nodeUrls of chooseAll().values()) expect(nodeUrls).not.toContain('http://node-1');
  });
});
