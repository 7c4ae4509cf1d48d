import type { LiveStreams, LiveStatus } from '#origin/live/live-streams.ts';
import type { Membership } from '#origin/cluster/membership.ts';
import type { StreamHolders } from '#origin/cluster/node-state.ts';

export type HeldStreamsDeps = {
  readonly ownUrl: string;
  readonly live: LiveStreams;
  readonly membership: Membership;
};

type HeldState = { readonly nodeUrl: string; readonly status: LiveStatus };
/** A stream as other origins have it. */
type HeldElsewhere = { readonly newest: StreamHolders; readonly states: readonly HeldState[] };

/** Who holds which stream: what this origin holds, and what the others have said. */
export class HeldStreams {
  readonly #deps: HeldStreamsDeps;
  readonly #own = new Map<string, StreamHolders>();
  #version = 0;
  #isDraining = false;
  #others: ReadonlyMap<string, HeldElsewhere> | undefined;

  constructor(deps: HeldStreamsDeps) {
    this.#deps = deps;
  }

  /** Grows with every change of what this origin holds. */
  get version(): number {
    return this.#version;
  }

  /** Whether this origin is about to leave and takes no new streams. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  drain(): void {
    this.#isDraining = true;
    this.#version += 1;
  }

  /** What this origin holds, with how it is doing. */
  own(): { readonly holders: StreamHolders; readonly status: LiveStatus }[] {
    return [...this.#own.values()].flatMap((holders) => {
      const status = this.#deps.live.status(holders.streamId);
      if (status !== undefined) return [{ holders, status }];
      this.#own.delete(holders.streamId);
      return [];
    });
  }

  ofOwn(streamId: string): StreamHolders | undefined {
    return this.#deps.live.get(streamId) === undefined ? undefined : this.#own.get(streamId);
  }

  /** A list that replaces every one that is known; nothing is remembered yet. */
  next(
    writer: { readonly streamId: string; readonly sessionId: string; readonly fencingToken: number },
    nodeUrls: readonly string[],
  ): StreamHolders {
    const { streamId, sessionId, fencingToken } = writer;
    const version = Math.max(this.newest(streamId)?.version ?? 0, this.#own.get(streamId)?.version ?? 0) + 1;
    return { streamId, sessionId, fencingToken, version, nodeUrls: [...nodeUrls] };
  }

  /** This origin holds the stream together with these; an older list changes nothing. */
  put(holders: StreamHolders): void {
    const known = this.#own.get(holders.streamId);
    if (known !== undefined && known.version >= holders.version) return;
    this.#own.set(holders.streamId, holders);
    this.#version += 1;
  }

  /** What the others say has changed. */
  forgetOthers(): void {
    this.#others = undefined;
  }

  /** The newest list of a stream's holders that anybody alive has, gone holders included. */
  newest(streamId: string): StreamHolders | undefined {
    const own = this.ofOwn(streamId);
    const others = this.#lookUp().get(streamId)?.newest;
    if (own === undefined || others === undefined) return own ?? others;
    return others.version > own.version ? others : own;
  }

  /** Living origins that have the stream's media, in the order of its newest list. */
  holdersWithData(streamId: string): string[] {
    const states = this.#lookUp().get(streamId)?.states ?? [];
    const having = new Set(states.map(({ nodeUrl }) => nodeUrl));
    if (this.ofOwn(streamId) !== undefined) having.add(this.#deps.ownUrl);
    return (this.newest(streamId)?.nodeUrls ?? []).filter((url) => having.has(url));
  }

  /** Whether parts reach no other origin that holds the stream either. */
  isLast(streamId: string): boolean {
    const states = this.#lookUp().get(streamId)?.states ?? [];
    return states.every(({ status }) => status.isStale);
  }

  /** How a stream is doing that others hold; undefined when none of them has it. */
  statusElsewhere(streamId: string): LiveStatus | undefined {
    const [holder] = this.holdersWithData(streamId);
    return this.#lookUp()
      .get(streamId)
      ?.states.find(({ nodeUrl }) => nodeUrl === holder)?.status;
  }

  /** Asked with every playback request, so looked up in what the states of the others were last turned into. */
  #lookUp(): ReadonlyMap<string, HeldElsewhere> {
    if (this.#others !== undefined) return this.#others;
    const others = new Map<string, { newest: StreamHolders; states: HeldState[] }>();
    for (const { nodeUrl, held } of this.#deps.membership.states())
      for (const { holders, status } of held) {
        const known = others.get(holders.streamId);
        if (known === undefined) {
          others.set(holders.streamId, { newest: holders, states: [{ nodeUrl, status }] });
          continue;
        }
        if (holders.version > known.newest.version) known.newest = holders;
        known.states.push({ nodeUrl, status });
      }
    this.#others = others;
    return others;
  }
}
