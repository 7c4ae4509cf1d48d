import type { SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import type { ManyClients } from '#tests/support/many-clients.ts';

/** Where light viewers find things. */
export type LightViewerOptions = {
  readonly clients: ManyClients;
  /** `{steering}/steering/v1/{stream}`; `undefined` for a viewer that does not steer and knows one place only. */
  readonly steeringUrl: string | undefined;
  /** Base URL per CDN. */
  readonly cdns: ReadonlyMap<string, string>;
  /** Path of the media playlist, query included. */
  readonly playlistPath: string;
  readonly partDurationMs: number;
};

/** A part as playlists number it. */
type Part = { readonly msn: number; readonly part: number; readonly uri: string };

/** What our page tolerates (`origin/player/browser/load-policy.ts`), and the penalty of a pathway. */
const RELOAD_DEADLINE_MS = 1_700;
const FETCH_DEADLINE_MS = 2_500;
const PENALTY_MS = 120_000;
const UNCHANGED_MAX = 3;
const START_PARTS = 3;
const JOIN_ATTEMPTS_MAX = 4;
const RETRY_PAUSE_MS = 150;

/**
 * A viewer without a screen: asks steering as a player does, follows one rendition with blocking reloads, fetches every
 * part, leaves a CDN that fails for the next in its order, and reckons what its buffer would do.
 */
export class LightViewer {
  readonly #options: LightViewerOptions;
  readonly #penalties = new Map<string, number>();
  readonly #leaving = new AbortController();
  #order: readonly string[] = [];
  #reloadUri = '';
  #steeringTimer: NodeJS.Timeout | undefined;
  #cdn = '';
  #buffered = 0;
  #lastMs = 0;
  #playing = false;
  #stallMs = 0;
  #moves: { readonly from: string; readonly to: string; readonly atMs: number }[] = [];
  #at: Part | undefined;
  readonly #failures: string[] = [];
  #steeringFailures = 0;
  #loadedFrom = '';

  constructor(options: LightViewerOptions) {
    this.#options = options;
  }

  /** The CDN that it loads from. */
  get cdn(): string {
    return this.#cdn;
  }
  /** Scheme, host and port that its last part came from. */
  get loadedFrom(): string {
    return this.#loadedFrom;
  }
  /** When it went from one CDN to another. */
  get moves(): readonly { readonly from: string; readonly to: string; readonly atMs: number }[] {
    return this.#moves;
  }
  /** Why it has left CDNs. */
  get failures(): readonly string[] {
    return this.#failures;
  }
  get steeringFailures(): number {
    return this.#steeringFailures;
  }

  /** Time without media in its buffer, ms, since this was asked last. */
  takeStall(): number {
    this.#drain();
    const stalled = this.#stallMs;
    this.#stallMs = 0;
    return stalled;
  }

  /** Forgets what has been: moves, stalls, failures, and which CDNs have failed. */
  forget(): void {
    this.#moves = [];
    this.#failures.length = 0;
    this.#penalties.clear();
    this.takeStall();
  }

  /** Begins to play; resolves when media is in its buffer. */
  async start(): Promise<void> {
    await this.#askSteering();
    this.#choose();
    await this.#joinSomewhere();
    this.#playing = true;
    this.#lastMs = performance.now();
    void this.#follow();
  }

  stop(): void {
    this.#leaving.abort();
    clearTimeout(this.#steeringTimer);
  }

  async #askSteering(): Promise<void> {
    const { clients, steeringUrl, cdns } = this.#options;
    if (steeringUrl === undefined) {
      this.#order = [...cdns.keys()];
      return;
    }
    let ttlS = 10;
    try {
      const url = this.#reloadUri === '' ? steeringUrl : `${this.#reloadUri}&_HLS_pathway=${this.#cdn}`;
      const answer = await clients.get(url, {}, FETCH_DEADLINE_MS);
      const manifest = JSON.parse(answer.body.toString()) as SteeringManifest;
      this.#order = manifest['PATHWAY-PRIORITY'];
      this.#reloadUri = manifest['RELOAD-URI'] ?? '';
      ttlS = manifest.TTL;
    } catch {
      // The order of before holds.
      this.#steeringFailures++;
    }
    if (this.#leaving.signal.aborted) return;
    this.#steeringTimer = setTimeout(() => {
      void this.#askSteering().then(() => this.#choose());
    }, ttlS * 1_000);
  }

  /** Goes to the first CDN of the order that has not failed lately. */
  #choose(): void {
    const nowMs = performance.now();
    const first =
      this.#order.find((name) => (this.#penalties.get(name) ?? 0) < nowMs) ?? this.#order[0] ?? '';
    if (first === this.#cdn) return;
    if (this.#cdn !== '') this.#moves.push({ from: this.#cdn, to: first, atMs: nowMs });
    this.#cdn = first;
  }

  async #joinSomewhere(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#join();
        return;
      } catch (error) {
        if (attempt === JOIN_ATTEMPTS_MAX) throw error;
        this.#penalties.set(this.#cdn, performance.now() + PENALTY_MS);
        this.#choose();
      }
    }
  }

  async #join(): Promise<void> {
    const parts = await this.#reload('');
    const last = parts.slice(-START_PARTS);
    for (const part of last) await this.#fetch(part);
  }

  async #follow(): Promise<void> {
    let unchanged = 0;
    let fresh = false;
    while (!this.#leaving.signal.aborted) {
      const cdn = this.#cdn;
      try {
        const at = this.#at;
        // The first request to another CDN is a plain one, as hls.js has it.
        const query = fresh || at === undefined ? '' : `?_HLS_msn=${at.msn}&_HLS_part=${at.part + 1}`;
        const parts = (await this.#reload(query)).filter((part) => isAfter(part, at));
        unchanged = parts.length === 0 && query !== '' ? unchanged + 1 : 0;
        if (unchanged >= UNCHANGED_MAX) throw new Error('the playlist stands still');
        for (const part of parts) await this.#fetch(part);
        fresh = this.#cdn !== cdn;
      } catch (error) {
        // Whatever it was: this CDN does not do, for a while.
        this.#failures.push(`${cdn}: ${String(error)}`);
        unchanged = 0;
        if (this.#cdn === cdn) {
          this.#penalties.set(cdn, performance.now() + PENALTY_MS);
          this.#choose();
        }
        fresh = true;
        if (this.#cdn === cdn) await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
      }
    }
  }

  async #reload(query: string): Promise<Part[]> {
    const { clients, playlistPath } = this.#options;
    const deadlineMs = query === '' ? FETCH_DEADLINE_MS : RELOAD_DEADLINE_MS;
    const target = new URL(`${this.#base()}${playlistPath}`);
    const directives = target.search === '' ? query : query.replace('?', '&');
    const answer = await clients.get(`${target.href}${directives}`, {}, deadlineMs);
    if (answer.status !== 200) throw new Error(`status ${answer.status}`);
    return readParts(answer.body.toString());
  }

  async #fetch(part: Part): Promise<void> {
    const { clients, playlistPath, partDurationMs } = this.#options;
    const url = new URL(part.uri, `${this.#base()}${playlistPath}`).href;
    const answer = await clients.get(url, {}, FETCH_DEADLINE_MS);
    if (answer.status !== 200 || answer.body.length === 0) throw new Error(`status ${answer.status}`);
    this.#drain();
    // It keeps its distance to the live edge, as a player does that plays a little faster when it is behind.
    this.#buffered = Math.min(this.#buffered + partDurationMs, START_PARTS * partDurationMs);
    this.#at = part;
    this.#loadedFrom = new URL(url).origin;
  }

  #base(): string {
    return this.#options.cdns.get(this.#cdn) ?? '';
  }

  #drain(): void {
    const nowMs = performance.now();
    const passedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (!this.#playing) return;
    this.#stallMs += Math.max(0, passedMs - this.#buffered);
    this.#buffered = Math.max(0, this.#buffered - passedMs);
  }
}

/** Parts that a playlist lists, by the names that our origin gives them: `{msn}.{part}.m4s`, here or elsewhere. */
function readParts(playlist: string): Part[] {
  return [...playlist.matchAll(/^#EXT-X-PART:.*URI="((?:[^"]*\/)?(\d+)\.(\d+)\.m4s)"/gm)].map(
    ([, uri = '', msn, part]) => ({
      uri,
      msn: Number(msn),
      part: Number(part),
    }),
  );
}

function isAfter(part: Part, at: Part | undefined): boolean {
  return at === undefined || part.msn > at.msn || (part.msn === at.msn && part.part > at.part);
}
