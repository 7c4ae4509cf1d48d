import { Counter, Gauge } from 'prom-client';
import type { BusMessage } from '#runtime/bus/bus.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { StreamDemand } from '#steering/demand/demand-meter.ts';
import { DEMAND_EXPIRY_MS, NODES_MAX, NodeReport, REPORT_EXPIRY_MS } from '#steering/picture/node-report.ts';

/** What is known of another node. */
export type NodeStatus = {
  readonly node: string;
  /** Since its last report, ms. */
  readonly silentMs: number;
  readonly generation: number;
  readonly viewers: number;
  readonly health: NodeReport['health'];
};

type Received = { report: NodeReport; atMs: number };

/**
 * The last report of every node, this one included, and how much of it still counts. While this node is cut off from the
 * bus, the viewers of the others stay as they were last heard of (they are still there), but their view of health does
 * not: it grows old, and this node has its own.
 */
export class NodeReports {
  readonly #self: string;
  readonly #clock: Clock;
  readonly #reports = new Map<string, Received>();
  readonly #refused: Counter;
  #cutOffAtMs: number | undefined;

  constructor(self: string, deps: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#self = self;
    this.#clock = deps.clock;
    const registers = [deps.metrics];
    this.#refused = new Counter({
      name: 'steering_reports_refused_total',
      help: 'Reports of other nodes that could not be read, or came from one node too many.',
      registers,
    });
    const count = (): number => this.#reports.size;
    new Gauge({
      name: 'steering_nodes',
      help: 'Steering nodes heard of, this one included.',
      registers,
      collect() {
        this.set(count());
      },
    });
  }

  /** Takes what came over the bus and says whether its node is a new one; what is no report is counted and dropped. */
  receive(message: BusMessage): 'new' | 'known' | 'refused' {
    const parsed = NodeReport.safeParse(message);
    if (!parsed.success) {
      this.#refused.inc();
      return 'refused';
    }
    return parsed.data.node === this.#self ? 'refused' : this.put(parsed.data);
  }

  /** Takes a report of this node or another. */
  put(report: NodeReport): 'new' | 'known' | 'refused' {
    const isNew = !this.#reports.has(report.node);
    if (isNew && this.#reports.size >= NODES_MAX) {
      this.#refused.inc();
      return 'refused';
    }
    this.#reports.set(report.node, { report, atMs: this.#clock.monotonicMs() });
    return isNew ? 'new' : 'known';
  }

  /** Says whether the bus works, since silence means something else when it does not. */
  setConnected(connected: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    if (!connected) this.#cutOffAtMs ??= nowMs;
    else if (this.#cutOffAtMs !== undefined) {
      // Nobody could be heard meanwhile; they get as long as always to speak up.
      for (const [node, received] of this.#reports)
        if (node !== this.#self) received.atMs += nowMs - this.#cutOffAtMs;
      this.#cutOffAtMs = undefined;
    }
  }

  /** Reports whose view of health counts: of nodes that were heard lately and are not leaving. */
  judging(): NodeReport[] {
    return [...this.#reports.values()]
      .filter(({ report, atMs }) => !report.leaving && this.#clock.monotonicMs() - atMs < REPORT_EXPIRY_MS)
      .map(({ report }) => report);
  }

  /**
   * Viewers of all nodes by region group. Those of a node that fell silent fade out over half a minute. Groups of another
   * generation of the registry may mean something else: such viewers count as served by the CDNs without regions.
   */
  demand(generation: number): Map<string, number> {
    const groups = new Map<string, number>();
    for (const received of this.#reports.values()) {
      const weight = this.#demandWeight(received);
      for (const [group, viewers] of Object.entries(received.report.demand.regionGroups)) {
        const key = received.report.generation === generation ? group : '';
        groups.set(key, (groups.get(key) ?? 0) + viewers * weight);
      }
    }
    return groups;
  }

  /** Viewers of all nodes by the CDN that was put first. */
  viewersByCdn(): Map<string, number> {
    const cdns = new Map<string, number>();
    for (const received of this.#reports.values()) {
      const weight = this.#demandWeight(received);
      for (const [cdn, viewers] of Object.entries(received.report.demand.cdns))
        cdns.set(cdn, (cdns.get(cdn) ?? 0) + viewers * weight);
    }
    return cdns;
  }

  /**
   * The streams with most viewers over all nodes: of this node all of `own`, of the others those that they tell, which are
   * the pairs of stream and CDN with most viewers there.
   */
  streams(own: readonly StreamDemand[], limit: number): StreamDemand[] {
    const merged = new Map<string, StreamDemand>();
    const add = ({ streamId, cdn, viewers }: StreamDemand, weight: number): void => {
      const key = `${streamId}/${cdn}`;
      const sum = (merged.get(key)?.viewers ?? 0) + viewers * weight;
      if (sum > 0) merged.set(key, { streamId, cdn, viewers: sum });
    };
    for (const entry of own) add(entry, 1);
    for (const received of this.#reports.values())
      if (received.report.node !== this.#self)
        for (const entry of received.report.demand.streams) add(entry, this.#demandWeight(received));
    return [...merged.values()].toSorted((a, b) => b.viewers - a.viewers).slice(0, limit);
  }

  /** All nodes, for people. */
  nodes(): NodeStatus[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#reports.values()].map(({ report, atMs }) => ({
      node: report.node,
      silentMs: Math.round(nowMs - atMs),
      generation: report.generation,
      viewers: Math.round(Object.values(report.demand.cdns).reduce((sum, count) => sum + count, 0)),
      health: report.health,
    }));
  }

  /** Forgets nodes of which nothing counts any more. */
  sweep(): void {
    for (const [node, received] of this.#reports)
      if (this.#demandWeight(received) === 0) this.#reports.delete(node);
  }

  #demandWeight({ report, atMs }: Received): number {
    if (report.node === this.#self) return 1;
    const silentMs = (this.#cutOffAtMs ?? this.#clock.monotonicMs()) - atMs;
    if (!report.leaving && silentMs < REPORT_EXPIRY_MS) return 1;
    return Math.max(0, 1 - silentMs / DEMAND_EXPIRY_MS);
  }
}
