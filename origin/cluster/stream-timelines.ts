import { z } from 'zod';
import { Presentation, STREAM_ID_PATTERN, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { rankWithinBound } from '#protocol/placement/bounded-load.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Logger } from '#runtime/log.ts';
import type { LiveStreams, TimelineDecision, TimelineInput } from '#origin/live/live-streams.ts';
import type { HeldStreams } from '#origin/cluster/held-streams.ts';
import type { Membership } from '#origin/cluster/membership.ts';
import { NodeUrl, StreamHolders } from '#origin/cluster/node-state.ts';
import { PeerUnavailableError, type PeerClient } from '#origin/cluster/peer-client.ts';

/** Origins that hold each stream, as far as there are as many. */
export const HOLDERS_PER_STREAM = 2;
/** A holder that is slower is passed over: the encoder's parts wait meanwhile. */
const LEAD_TIMEOUT_MS = 1_200;
const FOLLOW_TIMEOUT_MS = 500;
const ASK_TIMEOUT_MS = 300;

const Decision = z.object({
  firstMsn: z.int().min(1),
  isContinued: z.boolean(),
  startUtcMs: z.number(),
  discontinuityNumber: z.int().min(0),
});
const Input = z.object({
  streamId: z.string().regex(STREAM_ID_PATTERN),
  sessionId: z.uuid(),
  fencingToken: z.int().min(1),
  anchorUtcMs: z.number(),
  presentation: Presentation,
  lastMsnFloor: z.int().min(0),
  reconnectWindowMs: z.number(),
  liveWindowMs: z.number(),
  recording: z
    .object({ dvrWindowMs: z.number(), retentionMs: z.number() })
    .default({ dvrWindowMs: 0, retentionMs: 0 }),
});
/** `POST /internal/v1/streams/{id}/lead`: decide on a new timeline, for these holders, oneself being the first. */
export const LeadOrder = z.object({ input: Input, nodeUrls: z.array(NodeUrl).min(1).max(8) });
type LeadOrder = { readonly input: TimelineInput; readonly nodeUrls: readonly string[] };
/** `POST /internal/v1/streams/{id}/follow`: take over what the first holder has decided. */
export const FollowOrder = z.object({ input: Input, decision: Decision, holders: StreamHolders });
export type FollowOrder = {
  readonly input: TimelineInput;
  readonly decision: TimelineDecision;
  readonly holders: StreamHolders;
};
/** Answer of `GET /internal/v1/streams/{id}/last-msn`. */
const LastMsn = z.object({ lastMsn: z.int().min(0) });
const Empty = z.object({});

export type StreamTimelinesDeps = {
  readonly ownUrl: string;
  readonly logger: Logger;
  readonly live: LiveStreams;
  readonly peers: PeerClient;
  readonly membership: Membership;
  readonly held: HeldStreams;
  /** Called with a stream whose holders were named here, or that this one was named for. */
  readonly onNamed: (streamId: string) => void;
};

/**
 * Numbers for streams that several origins hold. One origin, the stream's owner, decides about a timeline; the others
 * take its decision over, so that all of them write the same playlists.
 */
export class StreamTimelines {
  readonly #deps: StreamTimelinesDeps;

  constructor(deps: StreamTimelinesDeps) {
    this.#deps = deps;
  }

  /**
   * The origins to hold a stream: those that do, then those that the stream's id prefers among the living that are not
   * about to leave. A node that joins or leaves therefore moves nothing of other nodes.
   */
  choose(streamId: string): string[] {
    const { ownUrl, membership, live, held } = this.#deps;
    const load = live.list().filter(({ isEnded }) => !isEnded).length;
    const nodes = [{ url: ownUrl, draining: held.isDraining, load }, ...membership.livePeers()];
    const leaving = new Set(nodes.filter(({ draining }) => draining).map(({ url }) => url));
    const staying = nodes.filter(({ url }) => !leaving.has(url));
    const ranked = rankWithinBound(
      streamId,
      staying.map((node) => ({ id: node.url, weight: 1, load: node.load })),
    );
    const current = held.holdersWithData(streamId).filter((url) => !leaving.has(url));
    const preferred = [...ranked.withRoom, ...ranked.full].map(({ id }) => id);
    return [...new Set([...current, ...preferred, ...leaving])].slice(0, HOLDERS_PER_STREAM);
  }

  /**
   * Begins a timeline at the stream's holders, wherever they are.
   *
   * @throws {ProblemError} what the deciding origin says, or 503 `holders_unavailable` when none of them answers
   */
  async begin(input: TimelineInput): Promise<TimelineGrant> {
    const { streamId } = input;
    const chosen = this.choose(streamId);
    for (const leader of chosen) {
      const nodeUrls = [leader, ...chosen.filter((url) => url !== leader)];
      try {
        if (leader === this.#deps.ownUrl) return await this.lead({ input, nodeUrls });
        return await this.#deps.peers.callJson(leader, TimelineGrant, {
          method: 'POST',
          path: `/internal/v1/streams/${streamId}/lead`,
          body: { input, nodeUrls },
          timeoutMs: LEAD_TIMEOUT_MS,
        });
      } catch (error) {
        if (!(error instanceof PeerUnavailableError)) throw error;
        this.#deps.logger.warn({ err: error, streamId, leader }, 'a holder is passed over');
      }
    }
    throw new ProblemError(503, 'holders_unavailable', 'No origin takes this stream now; try again.', {
      headers: { 'retry-after': '1' },
    });
  }

  /**
   * Decides about a timeline and tells the other holders; one that does not follow is left out of the grant.
   *
   * @throws what `LiveStreams.beginTimeline` throws
   */
  async lead({ input, nodeUrls }: LeadOrder): Promise<TimelineGrant> {
    const { live, held, ownUrl } = this.#deps;
    const { streamId } = input;
    const others = await this.#askLastNumbers(streamId, nodeUrls.slice(1));
    const lastMsnFloor = Math.max(input.lastMsnFloor, ...others.map(({ lastMsn }) => lastMsn));
    const grant = live.beginTimeline({ ...input, lastMsnFloor });
    const decision = live.get(streamId)?.timelineDecision;
    if (decision === undefined) throw new TypeError(`stream ${streamId} has begun a timeline and has none`);
    const holders = held.next(input, [ownUrl, ...others.map(({ url }) => url)]);
    const followers = await Promise.all(
      others.map(async ({ url }) => ((await this.#follow(url, { input, decision, holders })) ? [url] : [])),
    );
    const final = [ownUrl, ...followers.flat()];
    held.put(final.length === holders.nodeUrls.length ? holders : held.next(input, final));
    this.#deps.onNamed(streamId);
    return { ...grant, origins: final };
  }

  /**
   * Takes over what another holder has decided.
   *
   * @throws {ProblemError} 409 `timeline_elsewhere` when it does not fit what is here
   */
  follow({ input, decision, holders }: FollowOrder): void {
    this.#deps.live.beginTimeline({ ...input, assigned: decision });
    this.#deps.held.put(holders);
    this.#deps.onNamed(input.streamId);
  }

  async #askLastNumbers(
    streamId: string,
    urls: readonly string[],
  ): Promise<{ url: string; lastMsn: number }[]> {
    const answers = await Promise.all(
      urls.map(async (url) => {
        try {
          const path = `/internal/v1/streams/${streamId}/last-msn`;
          const call = { method: 'GET', path, timeoutMs: ASK_TIMEOUT_MS } as const;
          return [{ url, ...(await this.#deps.peers.callJson(url, LastMsn, call)) }];
        } catch (error) {
          this.#deps.logger.warn({ err: error, streamId, peer: url }, 'a holder does not answer');
          return [];
        }
      }),
    );
    return answers.flat();
  }

  async #follow(url: string, order: FollowOrder): Promise<boolean> {
    const { streamId } = order.input;
    try {
      await this.#deps.peers.callJson(url, Empty, {
        method: 'POST',
        path: `/internal/v1/streams/${streamId}/follow`,
        body: order,
        timeoutMs: FOLLOW_TIMEOUT_MS,
      });
      return true;
    } catch (error) {
      this.#deps.logger.warn({ err: error, streamId, peer: url }, 'a holder does not follow');
      return false;
    }
  }
}
