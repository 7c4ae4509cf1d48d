import type { LiveStreams, LiveStatus } from '#origin/live/live-streams.ts';
import type { Membership } from '#origin/cluster/membership.ts';
import type { StreamHolders } from '#origin/cluster/node-state.ts';

export type HeldStreamsDeps = {
  readonly ownUrl: string;
  readonly live: LiveStreams;
  readonly membership: Membership;
};

/** Who holds which stream: what this origin holds, and what the others have said. */
export class HeldStreams {
  readonly #deps: HeldStreamsDeps;
  readonly #own = new Map<string, StreamHolders>();
  #version = 0;
  #isDraining = false;

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

  /** The newest list of a stream's holders that anybody alive has, gone holders included. */
  newest(streamId: string): StreamHolders | undefined {
    let newest = this.ofOwn(streamId);
    for (const { held } of this.#deps.membership.states())
      for (const { holders } of held)
        if (holders.streamId === streamId && (newest === undefined || holders.version > newest.version))
          newest = holders;
    return newest;
  }

  /** Living origins that have the stream's media, in the order of its newest list. */
  holdersWithData(streamId: string): string[] {
    const { ownUrl, live, membership } = this.#deps;
    const having = new Set(
      membership
        .states()
        .filter(({ held }) => held.some(({ holders }) => holders.streamId === streamId))
        .map(({ nodeUrl }) => nodeUrl),
    );
    if (live.get(streamId) !== undefined) having.add(ownUrl);
    return (this.newest(streamId)?.nodeUrls ?? []).filter((url) => having.has(url));
  }

  /** Whether parts reach no other origin that holds the stream either. */
  isLast(streamId: string): boolean {
    return !this.#deps.membership
      .states()
      .some(({ held }) =>
        held.some(({ holders, status }) => holders.streamId === streamId && !status.isStale),
      );
  }

  /** How a stream is doing that others hold; undefined when none of them has it. */
  statusElsewhere(streamId: string): LiveStatus | undefined {
    const [holder] = this.holdersWithData(streamId);
    for (const { nodeUrl, held } of this.#deps.membership.states()) {
      if (nodeUrl !== holder) continue;
      return held.find(({ holders }) => holders.streamId === streamId)?.status;
    }
    return undefined;
  }
}
