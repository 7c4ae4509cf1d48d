import type { EdgeDeps, WaitUntil } from '#edge-worker/edge-deps.ts';
import { prepareSnapshot, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';
import { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';

export type SnapshotSettings = {
  readonly steeringUrls: readonly string[];
  /** What is believed before steering has said anything. */
  readonly baked: SteeringSnapshot;
};

type SnapshotDeps = Pick<EdgeDeps, 'fetch' | 'clock' | 'counters' | 'placeCache'>;

/** How sure the picture is: just fetched, the last that was good, or what the settings say. */
export type PictureState = 'live' | 'last_good' | 'baked';
export type CurrentPicture = { readonly picture: SteeringPicture; readonly state: PictureState };

/** Most that a viewer's request waits for steering, ever. */
export const LOOKUP_LIMIT_MS = 20;
/** A copy older than this is fetched anew, behind the viewer's back. */
const REFRESH_AFTER_MS = 1_000;
const FETCH_LIMIT_MS = 2_000;
/** A copy older than this means that steering has been silent for a while. */
const LIVE_FOR_MS = 5_000;
const SNAPSHOT_BYTES_MAX = 1024 * 1024;
const PLACE_KEY = '/steering/v1/snapshot';
/** So long may a place begin with an old picture. */
const PLACE_CACHE_CONTROL = 'public, max-age=86400';
const BASE_URL = /^https?:\/\/[^\s"<>\\]{1,500}$/;

/**
 * The picture that decisions are made from. Looking it up costs nothing once there is a copy: it is answered at once and
 * renewed for the next. Steering that fails changes nothing: the last good copy is kept for ever, before it the baked one.
 */
export class SnapshotSource {
  readonly #deps: SnapshotDeps;
  readonly #settings: SnapshotSettings;
  #copy: { readonly picture: SteeringPicture; readonly etag: string | undefined } | undefined;
  #confirmedAtMs = Number.NEGATIVE_INFINITY;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #refreshing: Promise<void> | undefined;
  #next = 0;
  #recalling: Promise<void> | undefined;
  readonly #baked: SteeringPicture;

  constructor(deps: SnapshotDeps, settings: SnapshotSettings) {
    this.#deps = deps;
    this.#settings = settings;
    this.#baked = prepareSnapshot(settings.baked);
  }

  /** Never throws, and never takes longer than {@link LOOKUP_LIMIT_MS}. */
  async current(waitUntil: WaitUntil): Promise<CurrentPicture> {
    this.prepare(waitUntil);
    const refreshing = this.#refreshing;
    // A copy that nobody has needed for a while is worth a moment; one of a second ago is not.
    if (refreshing !== undefined && this.#state() !== 'live') {
      const recalled = this.#copy === undefined ? this.#recalling : undefined;
      // What the place remembers will do, but not that it remembers nothing.
      const known = recalled?.then(() => (this.#copy === undefined ? refreshing : undefined));
      await this.#briefly(known === undefined ? refreshing : Promise.race([refreshing, known]));
    }
    const state = this.#state();
    this.#deps.counters.add('edge_snapshot_lookups_total', `state="${state}"`);
    return { picture: this.#copy?.picture ?? this.#baked, state };
  }

  /** Begins to renew the copy when it is due, and waits for nothing. */
  prepare(waitUntil: WaitUntil): void {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs - this.#triedAtMs >= REFRESH_AFTER_MS) {
      // One at a time; one that never ends, because its request was ended, is forgotten when the next is due.
      const isUnderWay = this.#refreshing !== undefined && nowMs - this.#triedAtMs < 2 * FETCH_LIMIT_MS;
      if (!isUnderWay) {
        this.#triedAtMs = nowMs;
        this.#recalling ??= this.#recall();
        const refreshing = this.#refresh(waitUntil).finally(() => {
          if (this.#refreshing === refreshing) this.#refreshing = undefined;
        });
        this.#refreshing = refreshing;
        waitUntil(refreshing);
      }
    }
  }

  #state(): PictureState {
    if (this.#copy === undefined) return 'baked';
    return this.#deps.clock.nowMs() - this.#confirmedAtMs <= LIVE_FOR_MS ? 'live' : 'last_good';
  }

  async #briefly(work: Promise<void>): Promise<void> {
    let timer: { cancel(): void } | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = this.#deps.clock.after(LOOKUP_LIMIT_MS, resolve);
    });
    await Promise.race([work, limit]);
    timer?.cancel();
  }

  /** A new isolate begins with what another one of its place has learnt. */
  async #recall(): Promise<void> {
    try {
      const response = await this.#deps.placeCache?.match(PLACE_KEY);
      if (response === undefined) return;
      const snapshot = readSnapshot(await response.text());
      this.#copy ??= { picture: prepareSnapshot(snapshot), etag: undefined };
    } catch {
      this.#deps.counters.add('edge_failures_total', 'in="snapshot_recall"');
    }
  }

  /** Leaves the snapshot to isolates that begin while steering is silent. */
  async #leave(text: string): Promise<void> {
    try {
      const headers = { 'content-type': 'application/json', 'cache-control': PLACE_CACHE_CONTROL };
      await this.#deps.placeCache?.put(PLACE_KEY, new Response(text, { headers }));
    } catch {
      this.#deps.counters.add('edge_failures_total', 'in="snapshot_leave"');
    }
  }

  async #refresh(waitUntil: WaitUntil): Promise<void> {
    const { clock, counters, fetch } = this.#deps;
    const { steeringUrls } = this.#settings;
    const base = steeringUrls[this.#next % steeringUrls.length] ?? '';
    const abort = new AbortController();
    const limit = clock.after(FETCH_LIMIT_MS, () => abort.abort());
    try {
      const etag = this.#copy?.etag;
      const response = await fetch(`${base}/steering/v1/snapshot`, {
        headers: etag === undefined ? {} : { 'if-none-match': etag },
        redirect: 'manual',
        signal: abort.signal,
      });
      if (response.status === 304 && this.#copy !== undefined) {
        await response.body?.cancel();
        counters.add('edge_snapshot_fetches_total', 'outcome="unchanged"');
      } else {
        const text = await snapshotText(response);
        const picture = prepareSnapshot(readSnapshot(text));
        this.#copy = { picture, etag: response.headers.get('etag') ?? undefined };
        if (this.#deps.placeCache !== undefined) waitUntil(this.#leave(text));
        counters.add('edge_snapshot_fetches_total', 'outcome="new"');
      }
      this.#confirmedAtMs = clock.nowMs();
    } catch {
      this.#next++;
      counters.add('edge_snapshot_fetches_total', 'outcome="failed"');
    } finally {
      limit.cancel();
    }
  }
}

/** @throws when there is none, or far too much */
async function snapshotText(response: Response): Promise<string> {
  const announced = Number(response.headers.get('content-length') ?? 0);
  if (response.status !== 200 || announced > SNAPSHOT_BYTES_MAX) {
    await response.body?.cancel();
    throw new Error('steering has no snapshot');
  }
  const text = await response.text();
  if (text.length > SNAPSHOT_BYTES_MAX) throw new Error('the snapshot is too large');
  return text;
}

/** @throws when it is not a snapshot; CDNs whose base URL could not go into a playlist are left out of it */
function readSnapshot(text: string): SteeringSnapshot {
  const snapshot = SteeringSnapshot.parse(JSON.parse(text));
  const cdns = snapshot.cdns
    .map((cdn) => ({ ...cdn, baseUrl: cdn.baseUrl.replace(/\/+$/, '') }))
    .filter(({ baseUrl }) => BASE_URL.test(baseUrl) && URL.canParse(baseUrl));
  return { ...snapshot, cdns };
}
