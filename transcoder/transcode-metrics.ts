import { Counter, Gauge, Histogram } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

const LATENCY_BUCKETS_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1, 2, 5];

/** What a transcoder counts and measures. One set per service; labels hold no session and no stream. */
export class TranscodeMetrics {
  readonly sessions: Gauge;
  readonly sessionsMax: Gauge;
  readonly sessionsRefused: Counter;
  readonly encoders: Gauge;
  readonly encoderBacklogBytes: Gauge;
  readonly encoderLag: Histogram;
  readonly timelines: Counter;
  readonly failures: Counter<'code'>;
  readonly parts: Counter<'kind'>;
  readonly partCutLatency: Histogram<'kind'>;
  readonly partStoredLatency: Histogram<'kind'>;
  readonly putDuration: Histogram;
  readonly putRetries: Counter;
  readonly uploadQueueBytes: Gauge;
  readonly uploadQueueItems: Gauge;
  readonly partsDropped: Counter<'reason'>;
  readonly originsLost: Counter;
  readonly pendingDiscarded: Counter;

  constructor(registry: Metrics) {
    const registers = [registry];
    const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
    const counter = (name: string, help: string): Counter => new Counter({ name, help, registers });
    const labelled = <Label extends string>(name: string, help: string, label: Label): Counter<Label> =>
      new Counter({ name, help, labelNames: [label], registers });
    const latency = (name: string, help: string): Histogram<'kind'> =>
      new Histogram({ name, help, labelNames: ['kind'], buckets: LATENCY_BUCKETS_S, registers });
    this.sessions = gauge('transcoder_sessions', 'Broadcasts being transcoded');
    this.sessionsMax = gauge('transcoder_sessions_max', 'Most broadcasts that are transcoded at once');
    this.sessionsRefused = counter('transcoder_sessions_refused_total', 'Broadcasts refused at the limit');
    this.encoders = gauge('transcoder_encoders', 'ffmpeg processes running');
    this.encoderBacklogBytes = gauge(
      'transcoder_encoder_backlog_bytes',
      'Input that ffmpeg has not read yet',
    );
    this.encoderLag = new Histogram({
      name: 'transcoder_encoder_lag_seconds',
      help: 'How far the output of the slowest video rendition is behind the input, sampled',
      buckets: LATENCY_BUCKETS_S,
      registers,
    });
    this.timelines = counter('transcoder_timelines_total', 'Timelines begun');
    this.failures = labelled(
      'transcoder_failures_total',
      'Ends of a timeline or session by an error',
      'code',
    );
    this.parts = labelled('transcoder_parts_total', 'Parts cut', 'kind');
    this.partCutLatency = latency(
      'transcoder_part_cut_seconds',
      'From the arrival of the last frame of a part at the ingest to the part being whole',
    );
    this.partStoredLatency = latency(
      'transcoder_part_stored_seconds',
      'From the arrival of the last frame of a part at the ingest to the part being stored at an origin',
    );
    this.putDuration = new Histogram({
      name: 'transcoder_part_put_seconds',
      help: 'Duration of one upload request that succeeded',
      buckets: LATENCY_BUCKETS_S,
      registers,
    });
    this.putRetries = counter('transcoder_put_retries_total', 'Upload requests that had to be repeated');
    this.uploadQueueBytes = gauge('transcoder_upload_queue_bytes', 'Bytes waiting to be uploaded');
    this.uploadQueueItems = gauge('transcoder_upload_queue_items', 'Parts waiting to be uploaded');
    this.partsDropped = labelled(
      'transcoder_parts_dropped_total',
      'Parts given up: too many bytes or items waiting, too old, or refused by the origin',
      'reason',
    );
    this.originsLost = counter(
      'transcoder_origins_lost_total',
      'Origins that took no more parts of a stream while others did',
    );
    this.pendingDiscarded = counter(
      'transcoder_pending_packets_discarded_total',
      'Packets thrown away because they came before a timeline could begin',
    );
  }
}
