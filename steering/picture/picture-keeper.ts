import { hash64 } from '#protocol/placement/hash64.ts';
import { prepareSnapshot, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';
import { EMPTY_SNAPSHOT } from '#protocol/steering/steering-snapshot.ts';
import type { Bus, BusSubscription } from '#runtime/bus/bus.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { DemandMeter, StreamDemand } from '#steering/demand/demand-meter.ts';
import type { HealthView } from '#steering/health/cdn-health.ts';
import {
  compileSnapshot,
  type CompiledPicture,
  type WeightPolicy,
} from '#steering/picture/compile-snapshot.ts';
import { EventWindow, type EventPolicy } from '#steering/picture/event-window.ts';
import { mergeHealth, type MergedHealth } from '#steering/picture/merge-health.ts';
import { REPORT_CHANNEL, REPORT_INTERVAL_MS, type NodeReport } from '#steering/picture/node-report.ts';
import { ownReport, type PlaceExperience } from '#steering/picture/own-report.ts';
import { createPictureMetrics, type PictureMetrics } from '#steering/picture/picture-metrics.ts';
import { NodeReports, type NodeStatus } from '#steering/picture/node-reports.ts';
import type { Cdn, CdnDirectory } from '#steering/registry/cdn.ts';

export type PictureKeeperDeps = {
  readonly nodeId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly directory: CdnDirectory;
  readonly health: HealthView;
  readonly demand: DemandMeter;
  readonly bus: Bus;
  readonly experience: PlaceExperience;
  /** Whether a change of the registry is due so soon that TTLs given out now reach beyond it. */
  readonly changeDue: () => boolean;
  /** Health factors from an earlier run, to begin with when everything looks dead. */
  readonly heldHealth?: ReadonlyMap<string, number>;
};

export type PictureSettings = { readonly weights: WeightPolicy; readonly events: EventPolicy };

/** A picture with the text that goes to the edge. */
export type CurrentPicture = {
  readonly prepared: SteeringPicture;
  readonly compiled: CompiledPicture;
  readonly json: string;
  /** Of the content: equal on all nodes that see the same. */
  readonly etag: string;
};

/** Changes that come together are taken in together. */
const SETTLE_MS = 20;

/**
 * Keeps the one picture that every answer is made from: out of the registry, of what this node and the others see, and
 * of how many watch. It is made anew whenever one of these changes, and once a second.
 *
 * Agreement without an elected node: every node tells the others what it sees (at once when it changes, and every
 * second), and all make the same picture from the same reports. A node that hears nobody goes by its own view.
 */
export class PictureKeeper {
  readonly #deps: PictureKeeperDeps;
  readonly #settings: PictureSettings;
  readonly #reports: NodeReports;
  readonly #events: EventWindow;
  readonly #gauges: PictureMetrics;
  readonly #listeners = new Set<() => void>();
  readonly #endings: (() => void)[] = [];
  #subscription: BusSubscription | undefined;
  #held: ReadonlyMap<string, number>;
  #health: MergedHealth = { cdns: new Map(), streams: {}, panic: false, held: new Map(), places: {} };
  #current: CurrentPicture = toCurrent({ snapshot: EMPTY_SNAPSHOT, loads: [], excessViewers: 0 });
  #timer: Timer | undefined;
  #settling: { timer: Timer; report: boolean } | undefined;
  #closed = false;

  constructor(settings: PictureSettings, deps: PictureKeeperDeps) {
    this.#deps = deps;
    this.#settings = settings;
    this.#reports = new NodeReports(deps.nodeId, deps);
    this.#events = new EventWindow(settings.events, deps);
    this.#held = deps.heldHealth ?? new Map();
    this.#gauges = createPictureMetrics(deps.metrics);
  }

  /** Begins to listen and to report; the first picture is there when it resolves. */
  async start(): Promise<void> {
    const { bus, directory, health } = this.#deps;
    this.#endings.push(
      // At once, so that whoever has made a change sees it done.
      directory.onChange(() => this.#reportAndCompile()),
      health.onChange(() => this.#settle(true)),
      bus.onConnectedChange((connected) => {
        this.#reports.setConnected(connected);
        this.#settle(true);
      }),
    );
    this.#reports.setConnected(bus.connected);
    this.#subscription = await bus.subscribe(REPORT_CHANNEL, (message) => {
      const outcome = this.#reports.receive(message);
      // A node that has just come is told at once what the others see.
      if (outcome !== 'refused') this.#settle(outcome === 'new');
    });
    this.#tick();
  }

  /** The picture as it is now. Reading never waits. */
  get current(): CurrentPicture {
    return this.#current;
  }

  /** What the nodes agree on. */
  get health(): MergedHealth {
    return this.#health;
  }

  /** What this node last knew to be good, when not everything failed; worth keeping across a restart. */
  get heldHealth(): ReadonlyMap<string, number> {
    return this.#held;
  }

  /** Estimated viewers of all nodes by CDN. */
  viewersByCdn(): Map<string, number> {
    return this.#reports.viewersByCdn();
  }

  /** Streams of all nodes by estimated viewers, most first; `limit` pairs of stream and CDN. */
  streams(limit: number): StreamDemand[] {
    return this.#reports.streams(this.#deps.demand.streams(limit), limit);
  }

  nodes(): NodeStatus[] {
    return this.#reports.nodes();
  }

  /** The picture that other CDNs would make out of today's health and viewers; for dry-runs. */
  compileWith(cdns: readonly Cdn[], generation: number): CompiledPicture {
    return compileSnapshot({
      cdns,
      generation,
      health: this.#health,
      demand: this.#reports.demand(this.#deps.directory.generation),
      event: false,
      policy: this.#settings.weights,
    });
  }

  /** Calls `listener` after each change of the picture; the returned function ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Tells the others that this node is leaving, and falls silent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#settling?.timer.cancel();
    for (const end of this.#endings.splice(0)) end();
    await this.#subscription?.close();
    await this.#send({ ...this.#ownReport(), leaving: true });
  }

  #tick(): void {
    if (this.#closed) return;
    this.#reports.sweep();
    this.#reportAndCompile();
    this.#timer = this.#deps.clock.after(REPORT_INTERVAL_MS, () => this.#tick());
  }

  #settle(report: boolean): void {
    if (this.#closed) return;
    if (this.#settling !== undefined) {
      this.#settling.report ||= report;
      return;
    }
    const timer = this.#deps.clock.after(SETTLE_MS, () => {
      const reporting = this.#settling?.report === true;
      this.#settling = undefined;
      if (reporting) this.#reportAndCompile();
      else this.#compile();
    });
    this.#settling = { timer, report };
  }

  #reportAndCompile(): void {
    const report = this.#ownReport();
    this.#reports.put(report);
    void this.#send(report);
    this.#compile();
  }

  #compile(): void {
    const { directory } = this.#deps;
    const cdns = directory.list();
    const enabled = cdns.filter((cdn) => cdn.enabled).map((cdn) => cdn.name);
    const health = mergeHealth(this.#reports.judging(), enabled);
    if (!health.panic && health.cdns.size > 0)
      this.#held = new Map([...health.cdns].map(([name, { factor }]) => [name, factor]));
    this.#health = health;
    const event = this.#events.isOpen({
      generation: directory.generation,
      trouble: describeTrouble(cdns, health),
      changeDue: this.#deps.changeDue(),
    });
    const compiled = compileSnapshot({
      cdns,
      generation: directory.generation,
      health,
      demand: this.#reports.demand(directory.generation),
      event,
      policy: this.#settings.weights,
    });
    const before = this.#current;
    const next = toCurrent(compiled);
    // Most rounds change nothing; the prepared picture is then kept, and nobody is called.
    this.#current = next.etag === before.etag ? { ...before, compiled } : next;
    this.#gauges.show(compiled, this.viewersByCdn());
    if (next.etag !== before.etag) for (const listener of this.#listeners) listener();
  }

  #ownReport(): NodeReport {
    return ownReport({ ...this.#deps, held: this.#held });
  }

  async #send(report: NodeReport): Promise<void> {
    try {
      await this.#deps.bus.publish(REPORT_CHANNEL, report);
      this.#gauges.sent.set(1);
    } catch (error) {
      this.#gauges.sent.set(0);
      this.#deps.logger.debug({ err: error }, 'the report reached nobody');
    }
  }
}

function toCurrent(compiled: CompiledPicture): CurrentPicture {
  const json = JSON.stringify(compiled.snapshot);
  const { high, low } = hash64(json);
  const etag = `"${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}"`;
  return { prepared: prepareSnapshot(compiled.snapshot), compiled, json, etag };
}

/** What is wrong with CDNs that matter; stable while it stays the same. */
function describeTrouble(cdns: readonly Cdn[], health: MergedHealth): string {
  if (health.panic) return 'panic';
  const troubled = cdns.flatMap((cdn) => {
    const state = cdn.enabled && cdn.weight > 0 ? health.cdns.get(cdn.name)?.state : undefined;
    return state === 'suspect' || state === 'ejected' || state === 'ramping' ? [`${cdn.name}:${state}`] : [];
  });
  return [...troubled, ...Object.keys(health.streams)].join(',');
}
