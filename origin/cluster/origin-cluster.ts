import type { Hono } from 'hono';
import { rank } from '#protocol/placement/weighted-rendezvous.ts';
import { formatHoldersNote } from '#protocol/ingest/part-upload.ts';
import type { TimelineGrant } from '#protocol/ingest/publish-session.ts';
import type { Bus } from '#runtime/bus/bus.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { createClusterRoutes } from '#origin/cluster/cluster-routes.ts';
import { HeldStreams } from '#origin/cluster/held-streams.ts';
import { HolderUpkeep } from '#origin/cluster/holder-upkeep.ts';
import { Membership } from '#origin/cluster/membership.ts';
import type { NodeState } from '#origin/cluster/node-state.ts';
import { PeerClient } from '#origin/cluster/peer-client.ts';
import { Relay } from '#origin/cluster/relay.ts';
import { HOLDERS_PER_STREAM, StreamTimelines } from '#origin/cluster/stream-timelines.ts';
import type { Playback } from '#origin/live/live-playback.ts';
import type { LiveStatus, LiveStreams, SessionEndReason, TimelineInput } from '#origin/live/live-streams.ts';
import type { LiveWindow, SessionCluster, SessionStatus } from '#origin/sessions/publish-sessions.ts';

export type OriginClusterSettings = {
  /** How the other origins and the transcoders reach this one: also its name. */
  readonly ownUrl: string;
  readonly ingestToken: string;
  readonly relayCacheBytesMax: number;
  readonly relayWaitersMax: number;
};

export type OriginClusterDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly bus: Bus;
  readonly live: LiveStreams;
  /** The sessions that this origin looks after. */
  readonly sessions: () => NodeState['sessions'];
};

const TELL_TIMEOUT_MS = 1_000;
const TELL_ATTEMPTS = 2;

/**
 * This origin among the others of its installation: who is there, who holds which stream, and how one is read that is
 * held elsewhere.
 */
export class OriginCluster implements Disposable, SessionCluster {
  readonly routes: Hono;
  /** The live window as publish sessions see it: that of all origins together. */
  readonly window: LiveWindow;
  readonly #settings: OriginClusterSettings;
  readonly #deps: OriginClusterDeps;
  readonly #startedAtMs: number;
  readonly #peers: PeerClient;
  readonly #membership: Membership;
  readonly #held: HeldStreams;
  readonly #timelines: StreamTimelines;
  readonly #relay: Relay;
  readonly #holders: HolderUpkeep;

  constructor(settings: OriginClusterSettings, deps: OriginClusterDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#startedAtMs = deps.clock.nowMs();
    const { clock, metrics, live } = deps;
    const { ownUrl, ingestToken } = settings;
    const logger = deps.logger.child({ subsystem: 'cluster' });
    const peers = new PeerClient({ ingestToken }, { clock });
    const describe = (): NodeState => this.#describe();
    const membership = new Membership(ownUrl, {
      clock,
      logger,
      metrics,
      peers,
      describe,
      bus: deps.bus,
      onChange: () => this.#held.forgetOthers(),
    });
    const held = new HeldStreams({ ownUrl, live, membership });
    this.#peers = peers;
    this.#membership = membership;
    this.#held = held;
    this.#timelines = new StreamTimelines({
      ownUrl,
      logger,
      live,
      peers,
      membership,
      held,
      onNamed: (streamId) => this.#holders.named(streamId),
    });
    const timelines = this.#timelines;
    this.#holders = new HolderUpkeep({
      ownUrl,
      clock,
      logger,
      metrics,
      live,
      peers,
      membership,
      held,
      choose: (streamId) => timelines.choose(streamId),
      onChange: () => membership.announce(),
    });
    this.#relay = new Relay(
      { cacheBytesMax: settings.relayCacheBytesMax, waitersMax: settings.relayWaitersMax },
      { clock, metrics, peers, holds: live.holds, sourcesOf: (streamId) => this.#sourcesOf(streamId) },
    );
    this.routes = createClusterRoutes({
      ingestToken,
      live,
      describe,
      timelines,
      adopt: (order) => this.#holders.adopt(order),
      onChange: () => membership.announce(),
    });
    this.window = {
      beginTimeline: (input) => live.beginTimeline(input),
      sessionEnded: (...end) => this.#sessionEnded(...end),
      remove: (streamId) => this.#remove(streamId),
      status: (streamId) => this.#status(streamId),
    };
  }

  /** Joins the other origins; they may ask this one from now on. */
  async start(): Promise<void> {
    await this.#membership.start();
    this.#holders.start();
  }

  /** Begins a timeline at the origins that are to hold the stream. @throws as {@link StreamTimelines.begin} */
  async beginTimeline(input: TimelineInput): Promise<TimelineGrant> {
    const grant = await this.#timelines.begin(input);
    this.#membership.announce();
    return grant;
  }

  sessionOf(streamId: string): SessionStatus | undefined {
    for (const { sessions } of this.#membership.states()) {
      const session = sessions.find((candidate) => candidate.streamId === streamId);
      if (session !== undefined) return session;
    }
    return undefined;
  }

  streams(): readonly string[] {
    return this.#membership
      .states()
      .flatMap(({ held, sessions }) => [
        ...held.filter(({ status }) => status.state !== 'ended').map(({ holders }) => holders.streamId),
        ...sessions.map(({ streamId }) => streamId),
      ]);
  }

  /**
   * The reading side of a stream that is not held here; undefined when no other origin can have it.
   *
   * @param isKnown whether the stream exists, as far as this origin knows
   */
  playbackElsewhere(streamId: string, isKnown: boolean): Playback | undefined {
    const isHere = this.#deps.live.get(streamId) !== undefined;
    if (isHere && !this.#isOutdated(streamId)) return undefined;
    const hasHolder = this.#held.holdersWithData(streamId).length > 0;
    if (isHere && !hasHolder) return undefined;
    // Nobody holds it, unless that is news which has not come yet.
    const mayBegin = isKnown && !this.#membership.isUpToDate && this.#membership.livePeers().length > 0;
    if (!hasHolder && !mayBegin) return undefined;
    return this.#relay.playback(streamId);
  }

  /** Whether the stream's parts are to be sent again in a moment, because it is just being taken over. */
  isAdopting(streamId: string): boolean {
    return this.#holders.isAdopting(streamId);
  }

  /** What an answer to an upload says of the stream's holders; undefined for a stream that is not held here. */
  holdersNote(streamId: string): string | undefined {
    const holders = this.#held.ofOwn(streamId);
    return holders && formatHoldersNote({ version: holders.version, origins: holders.nodeUrls });
  }

  /** Whether parts of the stream reach no other origin that holds it. */
  isLastOrigin(streamId: string): boolean {
    return this.#held.isLast(streamId);
  }

  /** For /readyz. */
  describe(): string {
    return this.#membership.describe();
  }

  /** From now on this origin is given no new streams. */
  drain(): void {
    this.#held.drain();
    this.#membership.announce();
  }

  async close(): Promise<void> {
    await this.#holders.close();
    await this.#membership.close();
    await this.#peers.close();
  }

  /** Whether what is here of a stream is older than what others have: they hold it without this origin. */
  #isOutdated(streamId: string): boolean {
    const { ownUrl } = this.#settings;
    const newest = this.#held.newest(streamId);
    return (
      newest !== undefined && (this.#held.ofOwn(streamId) === undefined || !newest.nodeUrls.includes(ownUrl))
    );
  }

  #describe(): NodeState {
    const held = this.#held.own();
    return {
      nodeUrl: this.#settings.ownUrl,
      startedAtMs: this.#startedAtMs,
      draining: this.#held.isDraining,
      load: held.filter(({ status }) => status.state !== 'ended').length,
      stateVersion: this.#held.version,
      held: held.map(({ holders, status }) => ({
        holders,
        status: { ...status, renditions: [...status.renditions] },
      })),
      sessions: this.#deps.sessions(),
    };
  }

  /** Those that have the stream, then those that would be chosen for it: their news may not have come yet. */
  #sourcesOf(streamId: string): string[] {
    const { ownUrl } = this.#settings;
    const nodes = [ownUrl, ...this.#membership.livePeers().map(({ url }) => url)];
    const preferred = rank(
      streamId,
      nodes.map((id) => ({ id, weight: 1 })),
    )
      .slice(0, HOLDERS_PER_STREAM)
      .map(({ id }) => id);
    const holders = this.#held.holdersWithData(streamId);
    const sources = holders.length > 0 ? holders : preferred;
    return sources.filter((url) => url !== ownUrl);
  }

  #status(streamId: string): LiveStatus | undefined {
    return this.#deps.live.status(streamId) ?? this.#held.statusElsewhere(streamId);
  }

  #sessionEnded(streamId: string, sessionId: string, reason: SessionEndReason): void {
    this.#deps.live.sessionEnded(streamId, sessionId, reason);
    const holders =
      this.#held.newest(streamId)?.nodeUrls ?? this.#membership.livePeers().map(({ url }) => url);
    this.#tell(holders, `/internal/v1/streams/${streamId}/session-ended`, { sessionId, reason });
  }

  #remove(streamId: string): void {
    this.#deps.live.remove(streamId);
    const peers = this.#membership.livePeers().map(({ url }) => url);
    this.#tell(peers, `/internal/v1/streams/${streamId}/removed`, {});
  }

  /** Tells others without waiting; whoever is not reached finds out from the database. */
  #tell(urls: readonly string[], path: string, body: object): void {
    for (const url of urls)
      if (url !== this.#settings.ownUrl) void this.#tellOne(url, path, body, TELL_ATTEMPTS);
  }

  async #tellOne(url: string, path: string, body: object, attempts: number): Promise<void> {
    try {
      await this.#peers.call(url, { method: 'POST', path, body, timeoutMs: TELL_TIMEOUT_MS });
    } catch (error) {
      if (attempts > 1) return this.#tellOne(url, path, body, attempts - 1);
      this.#deps.logger.warn({ err: error, peer: url, path }, 'another origin could not be told');
    }
  }
}
