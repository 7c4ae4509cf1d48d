import { Counter, Gauge, Histogram } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

/** Everything the live window counts. One set per origin process; labels are closed lists of words. */
export class LiveMetrics {
  readonly waiters: Gauge;
  readonly waits: Counter<'outcome'>;
  readonly renders: Counter<'playlist'>;
  readonly compressions: Counter;
  readonly partsStored: Counter<'outcome'>;
  readonly partStoreLatency: Histogram;
  readonly partWait: Histogram;
  readonly uploadRejects: Counter<'reason'>;
  readonly windowBytes: Gauge;
  readonly streams: Gauge;
  readonly staleStreams: Gauge;
  readonly staleTurns: Counter;
  readonly earlyEvictions: Counter;

  constructor(registry: Metrics) {
    const registers = [registry];
    this.waiters = new Gauge({
      name: 'origin_live_waiters',
      help: 'Requests held back at this moment.',
      registers,
    });
    this.waits = new Counter({
      name: 'origin_live_waits_total',
      help: 'Held requests by how they ended: released, expired, aborted, stale (sent to another origin), refused (no room), closed (shutdown).',
      labelNames: ['outcome'],
      registers,
    });
    this.renders = new Counter({
      name: 'origin_live_playlist_renders_total',
      help: 'Playlist texts written: media, multivariant.',
      labelNames: ['playlist'],
      registers,
    });
    this.compressions = new Counter({
      name: 'origin_live_playlist_compressions_total',
      help: 'Playlist texts compressed.',
      registers,
    });
    this.partsStored = new Counter({
      name: 'origin_live_parts_total',
      help: 'Parts by what became of them: stored, repeated, superseded (another pipeline was first), waiting (then counted again), gap (missing and listed as such), undecodable (dropped).',
      labelNames: ['outcome'],
      registers,
    });
    this.partStoreLatency = new Histogram({
      name: 'origin_live_part_store_latency_seconds',
      help: 'From the last frame of a part at the ingest until the part was listed.',
      buckets: [0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5],
      registers,
    });
    this.partWait = new Histogram({
      name: 'origin_live_part_wait_seconds',
      help: 'From the arrival of a part at the origin until it was listed: 0 unless another pipeline was waited for.',
      buckets: [0.001, 0.05, 0.1, 0.2, 0.3, 0.5, 1],
      registers,
    });
    this.uploadRejects = new Counter({
      name: 'origin_live_upload_rejects_total',
      help: 'Refused uploads by problem code.',
      labelNames: ['reason'],
      registers,
    });
    this.windowBytes = new Gauge({
      name: 'origin_live_window_bytes',
      help: 'Media bytes in memory, of all streams.',
      registers,
    });
    this.streams = new Gauge({
      name: 'origin_live_streams',
      help: 'Streams with a live window, ended ones included.',
      registers,
    });
    this.staleStreams = new Gauge({
      name: 'origin_live_stale_streams',
      help: 'Streams whose session lives and whose parts do not reach this origin.',
      registers,
    });
    this.staleTurns = new Counter({
      name: 'origin_live_stale_total',
      help: 'How often a stream has become stale.',
      registers,
    });
    this.earlyEvictions = new Counter({
      name: 'origin_live_early_evictions_total',
      help: 'Segments dropped before their availability had run out, because memory was short.',
      registers,
    });
  }
}
