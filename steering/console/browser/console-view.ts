import { ApiError, type Api } from './api.ts';
import type { CdnView, PlannedChange, Role } from './api-types.ts';
import { AuditList } from './audit-list.ts';
import { CdnCard } from './cdn-card.ts';
import { el } from './elements.ts';
import { EventFeed, type FeedState } from './event-feed.ts';
import type { StreamEvent } from './event-stream.ts';
import { notify } from './notices.ts';
import { PlannedList } from './planned-list.ts';
import { SplitBar } from './split-bar.ts';
import { StreamsTable } from './streams-table.ts';

export type ConsoleViewDeps = {
  readonly api: Api;
  readonly role: Role;
  readonly onState: (state: FeedState) => void;
  /** The token is not valid any more. */
  readonly onLoggedOut: () => void;
};

/** After an event everything is read anew, but not more often than this. */
const REFRESH_MIN_MS = 700;
/** Without any event it is read this often. */
const REFRESH_MAX_MS = 5_000;
const HEALTH_MS = 3_000;
/** With more CDNs than this only charts that are open are kept up to date. */
const CHARTS_OPEN_MAX = 4;

/** Everything that one sees after logging in. */
export class ConsoleView {
  readonly element: HTMLElement;
  readonly #deps: ConsoleViewDeps;
  readonly #alert = el('p', { class: 'panel alert', role: 'alert' });
  readonly #cards = new Map<string, CdnCard>();
  readonly #grid = el('div', { class: 'cdns' });
  readonly #split = new SplitBar();
  readonly #streams = new StreamsTable();
  readonly #audit: AuditList;
  readonly #planned: PlannedList;
  readonly #feed: EventFeed;
  #cdns: readonly CdnView[] = [];
  #refreshTimer: number | undefined;
  #refreshing = false;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #generation = -1;
  #healthTimer: number | undefined;
  #closed = false;

  constructor(deps: ConsoleViewDeps) {
    this.#deps = deps;
    const mayChange = deps.role !== 'viewer';
    this.#audit = new AuditList(
      (cursor) => deps.api.audit(cursor),
      (error) => this.#report(error),
    );
    this.#planned = new PlannedList(mayChange ? (change) => void this.#cancel(change) : undefined);
    this.#alert.hidden = true;
    this.element = el(
      'div',
      { class: 'console' },
      this.#alert,
      this.#split.element,
      el('section', { 'aria-label': 'CDNs' }, this.#grid),
      this.#planned.element,
      this.#streams.element,
      this.#audit.element,
    );
    this.#feed = new EventFeed({
      open: (signal) => deps.api.events(signal),
      onEvent: (event) => this.#take(event),
      onState: (state) => deps.onState(state),
      isFinal: (error) => error instanceof ApiError && error.status === 401,
    });
    void this.#refresh();
    void this.#refreshHealth();
  }

  close(): void {
    this.#closed = true;
    this.#feed.close();
    window.clearTimeout(this.#refreshTimer);
    window.clearTimeout(this.#healthTimer);
  }

  /** Viewers come with the event itself; everything else is read anew. */
  #take({ event, data }: StreamEvent): void {
    if (event !== 'viewers') {
      this.#soon(REFRESH_MIN_MS);
      return;
    }
    const viewers = JSON.parse(data) as Readonly<Record<string, number>>;
    for (const [name, card] of this.#cards) card.updateViewers(viewers[name] ?? 0);
  }

  /** Reads everything anew, `withinMs` after the last time at the earliest. */
  #soon(withinMs: number): void {
    if (this.#refreshing || this.#closed) return;
    window.clearTimeout(this.#refreshTimer);
    const waitMs = Math.max(0, this.#refreshedAtMs + withinMs - performance.now());
    this.#refreshTimer = window.setTimeout(() => void this.#refresh(), waitMs);
  }

  async #refresh(): Promise<void> {
    if (this.#refreshing || this.#closed) return;
    this.#refreshing = true;
    this.#refreshedAtMs = performance.now();
    try {
      const { api } = this.#deps;
      const [list, status, snapshot, planned] = await Promise.all([
        api.cdns(),
        api.status(),
        api.snapshot(),
        api.plannedChanges(),
      ]);
      this.#show(list.cdns);
      this.#streams.update(status.streams, snapshot);
      this.#planned.update(planned);
      this.#warn(status.panic, status.registry.source);
      if (list.generation !== this.#generation) {
        this.#generation = list.generation;
        await this.#audit.refresh();
      }
    } catch (error) {
      this.#report(error);
    } finally {
      this.#refreshing = false;
      this.#soon(REFRESH_MAX_MS);
    }
  }

  #show(cdns: readonly CdnView[]): void {
    this.#cdns = cdns;
    const names = new Set(cdns.map(({ name }) => name));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.element.remove();
      this.#cards.delete(name);
    }
    for (const [index, cdn] of cdns.entries()) {
      const card = this.#cards.get(cdn.name) ?? this.#newCard(cdn, index, cdns.length);
      card.update(cdn, index);
    }
    this.#split.update(cdns);
    if (cdns.length === 0)
      this.#grid.replaceChildren(
        el('p', { class: 'panel' }, 'There is no CDN yet; add one with POST /api/v1/cdns.'),
      );
  }

  #newCard(cdn: CdnView, index: number, total: number): CdnCard {
    const { api, role } = this.#deps;
    if (this.#cards.size === 0) this.#grid.replaceChildren();
    const card = new CdnCard(cdn, index, {
      mayChange: role !== 'viewer',
      chartOpen: total <= CHARTS_OPEN_MAX,
      preview: (view, request) => api.preview(view, request),
      apply: async (view, request) => {
        const changed = await api.apply(view, request);
        this.#show(
          this.#cdns.map((known) => (known.name === changed.name ? { ...known, ...changed } : known)),
        );
        notify(`${view.name} is changed.`);
        this.#soon(0);
      },
      describe: (error) => this.#describe(error),
    });
    this.#cards.set(cdn.name, card);
    this.#grid.append(card.element);
    return card;
  }

  async #refreshHealth(): Promise<void> {
    try {
      for (const [name, card] of this.#cards) {
        if (this.#closed) return;
        if (!card.chartOpen && this.#cards.size > CHARTS_OPEN_MAX) continue;
        card.updateHealth(await this.#deps.api.health(name), Date.now());
      }
    } catch (error) {
      this.#report(error);
    } finally {
      const waitMs = this.#cards.size === 0 ? 300 : HEALTH_MS;
      if (!this.#closed) this.#healthTimer = window.setTimeout(() => void this.#refreshHealth(), waitMs);
    }
  }

  async #cancel(change: PlannedChange): Promise<void> {
    // The reason is the operator's own deed; nothing else has to be asked.
    try {
      await this.#deps.api.cancelChange(change.id, 'called off in the console');
      notify('The change is called off.');
      this.#soon(0);
    } catch (error) {
      notify(this.#describe(error), 'error');
    }
  }

  #warn(panic: boolean, source: string): void {
    const warnings = [
      ...(panic ? ['Every CDN seems to fail: health is ignored, the weights of ops hold.'] : []),
      ...(source === 'database'
        ? []
        : ['The database is away: the last known settings hold, nothing can be changed.']),
    ];
    this.#alert.hidden = warnings.length === 0;
    const text = warnings.join(' ');
    if (this.#alert.textContent !== text) this.#alert.textContent = text;
  }

  #describe(error: unknown): string {
    if (!(error instanceof ApiError)) throw error;
    if (error.code === 'generation_mismatch') {
      this.#soon(0);
      return 'Somebody else has changed this CDN meanwhile. Look at it again and repeat the preview.';
    }
    if (error.status === 401) this.#deps.onLoggedOut();
    return error.message;
  }

  #report(error: unknown): void {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 && !this.#closed) this.#deps.onLoggedOut();
  }
}
