import { parseMediaFile } from '#protocol/hls/media-uris.ts';
import { PlaylistHistory } from '#origin/live/testing/playlist-history.ts';
import { RENDITION_IDS, TARGET_DURATION_MS } from '#tests/sim/sim-broadcast.ts';
import type { SimOrigin } from '#tests/sim/sim-origin.ts';
import { viewOf, type PlaylistView } from '#tests/sim/playlist-view.ts';
import type { SimWorld } from '#tests/sim/sim-world.ts';

/** @spec rfc8216bis §6.2.2 */
const FETCHABLE_FOR_MS = 3 * TARGET_DURATION_MS;

/** Looks at everything that origins say, from outside, and holds it against what they said before. */
export class SimAudit {
  readonly #world: SimWorld;
  readonly #origins: readonly SimOrigin[];
  /** Whether all origins must have the same bytes: there was never more than one encoder at a time. */
  readonly #isOneEncoder: boolean;
  readonly #bodies = new Map<string, string>();
  readonly #histories = new Map<string, PlaylistHistory>();
  /** When what was listed last, by life of an origin. */
  readonly #listed = new Map<string, Map<string, number>>();
  readonly #lastTexts = new Map<string, string>();

  constructor(world: SimWorld, origins: readonly SimOrigin[], isOneEncoder: boolean) {
    this.#world = world;
    this.#origins = origins;
    this.#isOneEncoder = isOneEncoder;
  }

  /** A viewer has got a playlist. */
  noteServed(holder: SimOrigin, renditionId: string, view: PlaylistView): void {
    const listed = this.#listedOf(holder);
    for (const uri of [...view.uris, ...view.initUris])
      listed.set(`${renditionId}/${uri}`, this.#world.nowMs);
  }

  /** A viewer has got a body. */
  noteBody(from: SimOrigin, renditionId: string, name: string, digest: string): void {
    // An origin that has missed a part has a shorter segment, and each chooses for itself between two encoders' copies.
    const isShared = this.#isOneEncoder && parseMediaFile(name)?.kind !== 'segment';
    const url = `${isShared ? 'any' : from.name}/${renditionId}/${name}`;
    const known = this.#bodies.get(url);
    this.#bodies.set(url, known ?? digest);
    this.#world.expect(
      'no URL ever has two bodies',
      known === undefined || known === digest,
      () => `${url} has another one now`,
    );
  }

  /** Reads every new version of every playlist as a strict player would, and remembers what it lists. */
  readPlaylists(): void {
    for (const origin of this.#holders())
      for (const id of RENDITION_IDS) {
        const snapshot = origin.port?.stream?.snapshot(id);
        if (snapshot === undefined || !snapshot.isListable) continue;
        const view = viewOf(snapshot.rendered('full'));
        const name = `${origin.name}/${id}`;
        if (this.#lastTexts.get(name) === view.text) continue;
        this.#lastTexts.set(name, view.text);
        this.noteServed(origin, id, view);
        const history = this.#histories.get(name) ?? new PlaylistHistory();
        this.#histories.set(name, history);
        let broken: unknown;
        try {
          history.take(view.text);
        } catch (error) {
          broken = error;
        }
        this.#world.expect(
          'playlists keep their promises',
          broken === undefined,
          () => `${name}: ${String(broken)}`,
        );
      }
  }

  /** Fetches everything that is listed, or was until a while ago. */
  async fetchListed(): Promise<void> {
    for (const origin of this.#holders()) {
      const listed = this.#listedOf(origin);
      for (const [url, atMs] of listed) {
        if (this.#world.nowMs - atMs >= FETCHABLE_FOR_MS) {
          listed.delete(url);
          continue;
        }
        const [renditionId = '', name = ''] = url.split('/');
        let failure: unknown;
        try {
          const answer = await origin.port?.media(renditionId, name);
          if (answer !== undefined) this.noteBody(origin, renditionId, name, answer.media.digest);
        } catch (error) {
          failure = error;
        }
        this.#world.expect(
          'what is listed can be fetched',
          failure === undefined,
          () => `${origin.name}/${url}, listed ${this.#world.nowMs - atMs} ms ago: ${String(failure)}`,
        );
      }
    }
  }

  /** The newest part with media at each holder. */
  newestMedia(): ReadonlyMap<string, string> {
    const newest = new Map<string, string>();
    for (const origin of this.#holders())
      for (const id of RENDITION_IDS) {
        const snapshot = origin.port?.stream?.snapshot(id);
        if (snapshot === undefined) continue;
        newest.set(`${origin.name}/${id}`, viewOf(snapshot.rendered('full')).mediaParts.at(-1) ?? '');
      }
    return newest;
  }

  #holders(): SimOrigin[] {
    return this.#origins.filter(({ isHolder, port }) => isHolder && port !== undefined);
  }

  #listedOf({ name, life }: SimOrigin): Map<string, number> {
    const key = `${name} ${life}`;
    const listed = this.#listed.get(key) ?? new Map<string, number>();
    this.#listed.set(key, listed);
    return listed;
  }
}
