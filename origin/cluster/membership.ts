import { Counter, Gauge } from 'prom-client';
import type { Bus, BusSubscription } from '#runtime/bus/bus.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { NodeAnnouncement, NodeState } from '#origin/cluster/node-state.ts';
import type { PeerClient } from '#origin/cluster/peer-client.ts';

export type MembershipDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly bus: Bus;
  readonly peers: Pick<PeerClient, 'callJson'>;
  /** What this origin has to say of itself. */
  readonly describe: () => NodeState;
  /** Called when the state of a peer has come, or a peer has come or gone. */
  readonly onChange: () => void;
};

export const ANNOUNCE_INTERVAL_MS = 500;
/** A peer that neither the bus nor a call has heard of for so long is gone. */
export const MEMBER_SILENT_MS = 2_000;
/** A peer that was away for so long must announce itself anew. */
const MEMBER_FORGOTTEN_MS = 600_000;
/** How often a peer is asked for its state, changed or not: also the proof of life while the bus is away. */
export const STATE_INTERVAL_MS = 1_000;
const STATE_TIMEOUT_MS = 900;
/** Peers that are remembered, gone ones included; those that were gone longest are forgotten first. */
export const MEMBERS_MAX = 64;
const CHANNEL = 'origins';

type Member = {
  readonly url: string;
  announcement: NodeAnnouncement;
  /** Monotonic ms of the last sign of life. */
  seenMs: number;
  wasAlive: boolean;
  state: NodeState | undefined;
  askedMs: number;
  isAsking: boolean;
  askAgain: boolean;
};

/** One origin of the installation as the others see it. */
export type ClusterNode = {
  readonly url: string;
  readonly draining: boolean;
  readonly load: number;
};

/**
 * Which origins there are. Every origin announces itself on the bus twice a second; whoever is heard of is asked for its
 * state once a second, at once when it says that it has changed. A sign of life of either kind counts, so that without
 * the bus the last known peers stay members for as long as they answer.
 */
export class Membership {
  readonly #ownUrl: string;
  readonly #deps: MembershipDeps;
  readonly #members = new Map<string, Member>();
  readonly #losses: Counter;
  readonly #failures: Counter<'what'>;
  #subscription: BusSubscription | undefined;
  #timer: Timer | undefined;
  #isAnnouncing = false;
  #announceAgain = false;
  #closed = false;

  constructor(ownUrl: string, deps: MembershipDeps) {
    this.#ownUrl = ownUrl;
    this.#deps = deps;
    const registers = [deps.metrics];
    const count = (): number => this.livePeers().length;
    new Gauge({
      name: 'origin_cluster_peers',
      help: 'Other origins that are alive, as far as this one knows.',
      registers,
      collect() {
        this.set(count());
      },
    });
    this.#losses = new Counter({
      name: 'origin_cluster_peers_lost_total',
      help: 'Other origins that fell silent.',
      registers,
    });
    this.#failures = new Counter({
      name: 'origin_cluster_failures_total',
      help: 'Announcements that could not be sent or read, and peers that could not be asked.',
      labelNames: ['what'],
      registers,
    });
  }

  /** Begins to announce and to listen. */
  async start(): Promise<void> {
    this.#subscription = await this.#deps.bus.subscribe(CHANNEL, (message) => this.#hear(message));
    this.#tick();
  }

  /** The other origins that are alive. */
  livePeers(): ClusterNode[] {
    const nowMs = this.#deps.clock.monotonicMs();
    return [...this.#members.values()]
      .filter((member) => isAlive(member, nowMs))
      .map(({ url, announcement: { draining, load } }) => ({ url, draining, load }));
  }

  isAlive(url: string): boolean {
    if (url === this.#ownUrl) return true;
    const member = this.#members.get(url);
    return member !== undefined && isAlive(member, this.#deps.clock.monotonicMs());
  }

  /** Whether a peer is about to leave. */
  isLeaving(url: string): boolean {
    return this.#members.get(url)?.announcement.draining === true;
  }

  /** What the living peers have said of themselves last. */
  states(): NodeState[] {
    const nowMs = this.#deps.clock.monotonicMs();
    return [...this.#members.values()].flatMap((member) =>
      isAlive(member, nowMs) && member.state !== undefined ? [member.state] : [],
    );
  }

  /** Whether everything that a living peer has said to have changed is known here. */
  get isUpToDate(): boolean {
    if (!this.#deps.bus.connected) return false;
    const nowMs = this.#deps.clock.monotonicMs();
    for (const member of this.#members.values()) {
      if (!isAlive(member, nowMs)) continue;
      if (member.state === undefined || member.state.stateVersion < member.announcement.stateVersion)
        return false;
    }
    return true;
  }

  /** For /readyz. */
  describe(): string {
    const bus = this.#deps.bus.connected ? 'the bus works' : 'the bus is cut off, peers are asked directly';
    return `${this.livePeers().length} peers; ${bus}`;
  }

  /** Says now that something has changed, without waiting for the next turn. */
  announce(): void {
    if (this.#closed) return;
    if (this.#isAnnouncing) {
      this.#announceAgain = true;
      return;
    }
    this.#isAnnouncing = true;
    const { held: _held, sessions: _sessions, ...announcement } = this.#deps.describe();
    this.#deps.bus
      .publish(CHANNEL, announcement)
      // The bus says by itself that it is cut off; the next turn tries again.
      .catch(() => this.#failures.inc({ what: 'announce' }))
      .finally(() => {
        this.#isAnnouncing = false;
        if (!this.#announceAgain) return;
        this.#announceAgain = false;
        this.announce();
      });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#subscription?.close();
  }

  #tick(): void {
    if (this.#closed) return;
    this.announce();
    const nowMs = this.#deps.clock.monotonicMs();
    for (const member of this.#members.values()) {
      this.#noticeLoss(member, nowMs);
      if (nowMs - member.seenMs > MEMBER_FORGOTTEN_MS) this.#members.delete(member.url);
      if (nowMs - member.askedMs >= STATE_INTERVAL_MS) this.#ask(member);
    }
    this.#timer = this.#deps.clock.after(ANNOUNCE_INTERVAL_MS, () => this.#tick());
  }

  #hear(message: unknown): void {
    const parsed = NodeAnnouncement.safeParse(message);
    if (!parsed.success) {
      this.#failures.inc({ what: 'announcement_unreadable' });
      return;
    }
    const announcement = parsed.data;
    if (announcement.nodeUrl === this.#ownUrl || this.#closed) return;
    const member = this.#members.get(announcement.nodeUrl) ?? this.#meet(announcement);
    this.#takeSign(member, announcement);
    const { state } = member;
    const isNews =
      state?.stateVersion !== announcement.stateVersion || state.startedAtMs !== announcement.startedAtMs;
    if (isNews) this.#ask(member);
  }

  #meet(announcement: NodeAnnouncement): Member {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#members.size >= MEMBERS_MAX) this.#forgetLongestGone();
    const member: Member = {
      url: announcement.nodeUrl,
      announcement,
      seenMs: nowMs,
      wasAlive: true,
      state: undefined,
      askedMs: -Infinity,
      isAsking: false,
      askAgain: false,
    };
    this.#members.set(member.url, member);
    this.#deps.logger.info({ peer: member.url }, 'an origin has joined');
    return member;
  }

  #takeSign(member: Member, announcement: NodeAnnouncement): void {
    const before = member.announcement;
    member.announcement = announcement;
    member.seenMs = this.#deps.clock.monotonicMs();
    if (before.startedAtMs !== announcement.startedAtMs) member.state = undefined;
    if (!member.wasAlive) this.#deps.logger.info({ peer: member.url }, 'an origin is back');
    if (!member.wasAlive || before.draining !== announcement.draining) {
      member.wasAlive = true;
      this.#deps.onChange();
    }
  }

  #noticeLoss(member: Member, nowMs: number): void {
    if (!member.wasAlive || isAlive(member, nowMs)) return;
    member.wasAlive = false;
    this.#losses.inc();
    this.#deps.logger.warn({ peer: member.url }, 'an origin has fallen silent');
    this.#deps.onChange();
  }

  #ask(member: Member): void {
    if (member.isAsking || this.#closed) return;
    member.isAsking = true;
    member.askedMs = this.#deps.clock.monotonicMs();
    const call = { method: 'GET', path: '/internal/v1/node', timeoutMs: STATE_TIMEOUT_MS } as const;
    this.#deps.peers
      .callJson(member.url, NodeState, call)
      .then((state) => this.#takeState(member, state))
      // Silence is what tells; a peer that is slow now is asked again.
      .catch(() => this.#failures.inc({ what: 'ask' }))
      .finally(() => {
        member.isAsking = false;
        if (!member.askAgain) return;
        member.askAgain = false;
        this.#ask(member);
      });
  }

  #takeState(member: Member, state: NodeState): void {
    if (this.#closed || state.nodeUrl !== member.url) return;
    const heard = member.announcement;
    // It has changed again while it was answering.
    member.askAgain = heard.startedAtMs === state.startedAtMs && heard.stateVersion > state.stateVersion;
    const { held: _held, sessions: _sessions, ...announcement } = state;
    this.#takeSign(member, announcement);
    member.state = state;
    this.#deps.onChange();
  }

  #forgetLongestGone(): void {
    const [oldest] = [...this.#members.values()].toSorted((a, b) => a.seenMs - b.seenMs);
    if (oldest !== undefined) this.#members.delete(oldest.url);
  }
}

function isAlive({ seenMs }: Member, nowMs: number): boolean {
  return nowMs - seenMs < MEMBER_SILENT_MS;
}
