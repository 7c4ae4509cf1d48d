/** Names, labels and help of everything that is counted. Labels never hold a viewer, a stream or a URL. */
const HELP = {
  edge_requests_total: 'Answers by what was asked for and status.',
  edge_answers_total: 'Where an answer came from: memory, place, upstream, or shared with another waiter.',
  edge_upstream_requests_total: 'Requests to origins by how they ended.',
  edge_late_waiters_total: 'Requests whose own deadline passed before the shared answer came.',
  edge_playlists_total:
    'Multivariant playlists by kind: steered, single (one CDN) or plain (no CDN is known).',
  edge_snapshot_lookups_total: 'Look-ups of the steering snapshot by what was found.',
  edge_snapshot_fetches_total: 'Fetches of the steering snapshot by how they ended.',
  edge_refusals_total: 'Requests without access, by code.',
  edge_failures_total: 'Failures that nobody else was told of, by place.',
  edge_overflows_total: 'Requests turned away because too many were under way.',
} as const;
export type CounterName = keyof typeof HELP;

/** Counts of one isolate or process. Small and without I/O, so that it is the same everywhere. */
export class EdgeCounters {
  readonly #counts = new Map<string, number>();
  readonly #gauges = new Map<string, { readonly help: string; readonly read: () => number }>();

  /** @param label one pair `name="value"` of fixed words */
  add(name: CounterName, label = ''): void {
    const key = label === '' ? name : `${name}{${label}}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  get(name: CounterName, label = ''): number {
    return this.#counts.get(label === '' ? name : `${name}{${label}}`) ?? 0;
  }

  gauge(name: string, help: string, read: () => number): void {
    this.#gauges.set(name, { help, read });
  }

  /** Prometheus text, version 0.0.4. */
  text(): string {
    const lines: string[] = [];
    for (const [name, help] of Object.entries(HELP)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
      for (const [key, count] of this.#counts)
        if (key === name || key.startsWith(`${name}{`)) lines.push(`${key} ${count}`);
    }
    for (const [name, { help, read }] of this.#gauges)
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${read()}`);
    return `${lines.join('\n')}\n`;
  }
}
