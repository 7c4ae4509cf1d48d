import { ProblemError } from '#runtime/http/problem.ts';
import type { RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';
import { RENDITION_IDS, TARGET_DURATION_MS } from '#tests/sim/sim-broadcast.ts';
import type { SimAudit } from '#tests/sim/sim-audit.ts';
import type { SimOrigin } from '#tests/sim/sim-origin.ts';
import { viewOf, type PlaylistView } from '#tests/sim/playlist-view.ts';
import type { SimWorld } from '#tests/sim/sim-world.ts';

/** Held for three target durations at most; a request may wait for two things, and is looked for four times a second. */
const HOLD_MAX_MS = 3 * TARGET_DURATION_MS + 600;
const RETRY_MS = { least: 50, most: 500 };

/** Where requests go: a CDN node has its origin, and an origin that does not hold the stream asks one that does. */
export function holderFor(asked: SimOrigin, origins: readonly SimOrigin[]): SimOrigin | undefined {
  if (asked.port === undefined) return undefined;
  return asked.isHolder ? asked : origins.find(({ isHolder, port }) => isHolder && port !== undefined);
}

/** A player behind a CDN that asks one origin, and another one when that fails. */
export class SimViewer {
  readonly #world: SimWorld;
  readonly #origins: readonly SimOrigin[];
  readonly #audit: SimAudit;
  readonly #renditionId: string;
  #at: number;
  #view: PlaylistView | undefined;
  /** When it last got a playlist that has advanced. */
  advancedMs = 0;

  constructor(world: SimWorld, origins: readonly SimOrigin[], audit: SimAudit, index: number) {
    this.#world = world;
    this.#origins = origins;
    this.#audit = audit;
    this.#renditionId = RENDITION_IDS[index % RENDITION_IDS.length] ?? '';
    this.#at = index % origins.length;
  }

  async watch(isOver: () => boolean): Promise<void> {
    await this.#world.sleep(this.#world.between(0, 4_000));
    while (!isOver()) {
      const asked = this.#origins[this.#at % this.#origins.length];
      if (asked === undefined) return;
      try {
        await this.#reload(asked);
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error;
        this.#at += 1;
        this.#view = undefined;
        await this.#world.sleep(this.#world.between(RETRY_MS.least, RETRY_MS.most));
      }
    }
  }

  async #reload(asked: SimOrigin): Promise<void> {
    const holder = holderFor(asked, this.#origins);
    if (holder?.port === undefined) throw new ProblemError(502, 'unreachable', '');
    const { port, life } = holder;
    const next = this.#view?.isEnded === false ? this.#view.next : undefined;
    const askedMs = this.#world.nowMs;
    try {
      const answer = await port.playlist(this.#renditionId, { block: next, form: 'full' });
      this.#take(asked, holder, answer.rendered);
    } finally {
      const heldMs = this.#world.nowMs - askedMs;
      this.#world.expect('every request is answered', heldMs <= HOLD_MAX_MS, () => `held for ${heldMs} ms`);
    }
    if (holder.life !== life) throw new ProblemError(502, 'connection_lost', '');
    await this.#fetchNewest(holder);
    if (this.#view?.isEnded !== false || next === undefined)
      await this.#world.sleep(this.#world.between(100, 1_000));
  }

  #take(asked: SimOrigin, holder: SimOrigin, rendered: RenderedPlaylist): void {
    const view = viewOf(rendered);
    this.#audit.noteServed(holder, this.#renditionId, view);
    const before = this.#view;
    if (before !== undefined) {
      this.#world.expect(
        'sequence numbers never go back',
        view.mediaSequence >= before.mediaSequence && view.lastCell >= before.lastCell,
        () =>
          `${asked.name} (${holder.name}) ${this.#renditionId}: ${before.mediaSequence}, ${before.lastCell} and then ${view.mediaSequence}, ${view.lastCell}`,
      );
      if (view.lastCell > before.lastCell) this.advancedMs = this.#world.nowMs;
    }
    this.#view = view;
  }

  /** What it plays next: the newest part, and now and then something older. */
  async #fetchNewest(holder: SimOrigin): Promise<void> {
    const uris = this.#view?.uris ?? [];
    const newest = uris.at(-1);
    if (newest === undefined || holder.port === undefined) return;
    const name = this.#world.chance(0.8) ? newest : this.#world.pick(uris);
    const { media } = await holder.port.media(this.#renditionId, name);
    this.#audit.noteBody(holder, this.#renditionId, name, media.digest);
  }
}
