import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryBus, MemoryBusHub } from '#runtime/bus/memory-bus.ts';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { MEMBER_SILENT_MS, Membership } from '#origin/cluster/membership.ts';
import type { NodeState } from '#origin/cluster/node-state.ts';
import { PeerUnavailableError, type PeerClient } from '#origin/cluster/peer-client.ts';

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('the origins that there are', () => {
  let clock: FakeClock;
  let hub: MemoryBusHub;
  let nodes: Map<string, TestNode>;

  /** One origin; the others reach it as long as it `answers`. */
  class TestNode {
    readonly url: string;
    readonly bus = new MemoryBus(hub);
    readonly membership: Membership;
    answers = true;
    asked = 0;
    state: NodeState;

    constructor(name: string) {
      this.url = `http://${name}`;
      this.state = {
        nodeUrl: this.url,
        startedAtMs: clock.nowMs(),
        draining: false,
        load: 0,
        stateVersion: 0,
        held: [],
        sessions: [],
      };
      const callJson = (url: string): Promise<NodeState> => {
        const peer = nodes.get(url);
        if (peer?.answers !== true) return Promise.reject(new PeerUnavailableError('away'));
        peer.asked += 1;
        return Promise.resolve(structuredClone(peer.state));
      };
      this.membership = new Membership(this.url, {
        clock,
        logger: createLogger('test', 'silent'),
        metrics: createMetrics('test'),
        bus: this.bus,
        peers: { callJson: callJson as unknown as PeerClient['callJson'] },
        describe: () => this.state,
        onChange: () => undefined,
      });
      nodes.set(this.url, this);
    }

    get peers(): string[] {
      return this.membership.livePeers().map(({ url }) => url);
    }
  }

  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100);
      await settle();
    }
  };
  const start = async (...names: string[]): Promise<TestNode[]> => {
    const started = names.map((name) => new TestNode(name));
    for (const node of started) await node.membership.start();
    await pass(600);
    return started;
  };

  beforeEach(() => {
    clock = new FakeClock();
    hub = new MemoryBusHub();
    nodes = new Map();
  });

  it('hear of one another, and not of themselves', async () => {
    const [a, b, c] = (await start('a', 'b', 'c')) as [TestNode, TestNode, TestNode];
    expect(a.peers.toSorted()).toEqual([b.url, c.url]);
    expect(c.peers.toSorted()).toEqual([a.url, b.url]);
    expect(a.membership.isAlive(a.url)).toBe(true);
  });

  it('know what has changed at one of them at once', async () => {
    const [a, b] = (await start('a', 'b')) as [TestNode, TestNode];
    b.state = { ...b.state, load: 7, stateVersion: 1 };
    expect(a.membership.isUpToDate).toBe(true);
    b.answers = false;
    b.membership.announce();
    await settle();
    expect(a.membership.isUpToDate).toBe(false);
    b.answers = true;
    b.membership.announce();
    await settle();
    expect(a.membership.isUpToDate).toBe(true);
    expect(a.membership.states()[0]).toMatchObject({ nodeUrl: b.url, load: 7 });
  });

  it('lose one that neither announces itself nor answers, and take it back', async () => {
    const [a, b] = (await start('a', 'b')) as [TestNode, TestNode];
    b.bus.setConnected(false);
    b.answers = false;
    await pass(MEMBER_SILENT_MS - 600);
    expect(a.peers).toEqual([b.url]);
    await pass(800);
    expect(a.peers).toEqual([]);
    expect(a.membership.states()).toEqual([]);
    b.bus.setConnected(true);
    b.answers = true;
    await pass(600);
    expect(a.peers).toEqual([b.url]);
  });

  it('keep those that still answer when the bus is away, and lose those that do not', async () => {
    const [a, b, c] = (await start('a', 'b', 'c')) as [TestNode, TestNode, TestNode];
    for (const node of [a, b, c]) node.bus.setConnected(false);
    await pass(10_000);
    expect(a.peers.toSorted()).toEqual([b.url, c.url]);
    expect(a.membership.describe()).toBe('2 peers; the bus is cut off, peers are asked directly');
    c.answers = false;
    await pass(3_000);
    expect(a.peers).toEqual([b.url]);
  });

  it('forget the state of one that was started anew until it has said it again', async () => {
    const [a, b] = (await start('a', 'b')) as [TestNode, TestNode];
    b.answers = false;
    b.state = { ...b.state, startedAtMs: b.state.startedAtMs + 1 };
    await pass(600);
    expect(a.peers).toEqual([b.url]);
    expect(a.membership.states()).toEqual([]);
  });

  it('are asked about once a second while nothing changes', async () => {
    const [, b] = (await start('a', 'b')) as [TestNode, TestNode];
    b.asked = 0;
    await pass(10_000);
    expect(b.asked).toBeGreaterThanOrEqual(6);
    expect(b.asked).toBeLessThanOrEqual(11);
  });

  it('take no notice of what is no announcement', async () => {
    const [a] = (await start('a')) as [TestNode];
    for (const message of [null, 'x', { nodeUrl: 'javascript:1' }, { nodeUrl: 'http://b' }])
      await a.bus.publish('origins', message);
    await settle();
    expect(a.peers).toEqual([]);
  });
});
