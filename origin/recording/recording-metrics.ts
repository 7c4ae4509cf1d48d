import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

/** Everything that recording counts. Labels are closed lists of words. */
export class RecordingMetrics {
  readonly uploads: Counter<'outcome'>;
  readonly lost: Counter<'reason'>;
  readonly spoolFailures: Counter<'reason'>;
  readonly spoolBytes: Gauge;
  readonly queueSegments: Gauge;
  readonly queueBytes: Gauge;
  readonly backlogAge: Gauge;
  readonly indexWrites: Counter<'outcome'>;
  readonly reads: Counter<'from'>;
  readonly cacheBytes: Gauge;
  readonly deletedObjects: Counter;
  readonly deleteFailures: Counter;
  readonly restored: Counter<'outcome'>;
  readonly failures: Counter;
  readonly compressions: Counter;

  constructor(registry: Metrics) {
    const registers = [registry];
    this.uploads = new Counter({
      name: 'origin_recording_uploads_total',
      help: 'Objects put to the store by outcome: stored, exists (the same was there), failed (will be repeated).',
      labelNames: ['outcome'],
      registers,
    });
    this.lost = new Counter({
      name: 'origin_recording_lost_segments_total',
      help: 'Segments that are missing from recordings: no_room, too_old, unreadable, restart.',
      labelNames: ['reason'],
      registers,
    });
    this.spoolFailures = new Counter({
      name: 'origin_recording_spool_failures_total',
      help: 'Writes to the spool that were given up: full, behind, failed. The segments wait in memory instead.',
      labelNames: ['reason'],
      registers,
    });
    this.spoolBytes = new Gauge({
      name: 'origin_recording_spool_bytes',
      help: 'Media bytes on disk that are not indexed in the store yet.',
      registers,
    });
    this.queueSegments = new Gauge({
      name: 'origin_recording_queue_objects',
      help: 'Objects that wait for the store.',
      registers,
    });
    this.queueBytes = new Gauge({
      name: 'origin_recording_queue_bytes',
      help: 'Bytes in memory that wait for the store.',
      registers,
    });
    this.backlogAge = new Gauge({
      name: 'origin_recording_backlog_age_seconds',
      help: 'How long the oldest object has been waiting for the store.',
      registers,
    });
    this.indexWrites = new Counter({
      name: 'origin_recording_index_writes_total',
      help: 'Writes of the index to the database: written, failed (will be repeated).',
      labelNames: ['outcome'],
      registers,
    });
    this.reads = new Counter({
      name: 'origin_recording_reads_total',
      help: 'Recorded objects asked for, by where they came from: queue, spool, cache, shared, store; or missing, failed, refused.',
      labelNames: ['from'],
      registers,
    });
    this.cacheBytes = new Gauge({
      name: 'origin_recording_cache_bytes',
      help: 'Bytes of objects kept after reading them.',
      registers,
    });
    this.deletedObjects = new Counter({
      name: 'origin_recording_deleted_objects_total',
      help: 'Objects deleted from the store.',
      registers,
    });
    this.deleteFailures = new Counter({
      name: 'origin_recording_delete_failures_total',
      help: 'Rounds of deleting that failed and will be repeated.',
      registers,
    });
    this.restored = new Counter({
      name: 'origin_recording_restored_streams_total',
      help: 'Streams of an earlier process at the start: live (goes on), ended, failed.',
      labelNames: ['outcome'],
      registers,
    });
    this.failures = new Counter({
      name: 'origin_recording_failures_total',
      help: 'Recordings given up by a mistake of the program; their streams went on.',
      registers,
    });
    this.compressions = new Counter({
      name: 'origin_recording_playlist_compressions_total',
      help: 'Texts of recorded playlists compressed.',
      registers,
    });
  }
}
