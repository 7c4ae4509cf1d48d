import { Counter, Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';

/** The counters and gauges of the ingest process. */
export type IngestMetrics = ReturnType<typeof createIngestMetrics>;

/**
 * Registers the metrics of the ingest. The child counts in a registry of its own; the parent registers the same ones and
 * copies the child's values into them, so that they survive a restart of the child.
 */
export function createIngestMetrics(registry: Metrics) {
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  return {
    connections: gauge('ingest_rtmp_connections', 'RTMP connections that are open'),
    connectionsAccepted: counter('ingest_rtmp_connections_accepted_total', 'RTMP connections taken'),
    connectionsRefused: counter(
      'ingest_rtmp_connections_refused_total',
      'RTMP connections closed before their first byte, by the limit that did it',
      ['reason'],
    ),
    connectionsClosed: counter(
      'ingest_rtmp_connections_closed_total',
      'RTMP connections that ended, by cause',
      ['reason'],
    ),
    receivedBytes: counter('ingest_rtmp_received_bytes_total', 'Bytes received over RTMP'),
    libraryMessages: counter(
      'ingest_rtmp_library_messages_total',
      'Log lines of the RTMP library, which are not kept',
    ),
    messagesIgnored: counter(
      'ingest_rtmp_messages_ignored_total',
      'Messages without a meaning for us, by kind',
      ['kind'],
    ),
    authorisations: counter(
      'ingest_authorisations_total',
      'Stream keys asked about at the origin, by answer',
      ['result'],
    ),
    publishes: gauge('ingest_publishes', 'Broadcasters publishing now'),
    publishesEnded: counter('ingest_publishes_ended_total', 'Publishes that ended, by reason', ['reason']),
    packets: counter('ingest_packets_total', 'Packets passed on to readers, by kind', ['kind']),
    packetsDropped: counter('ingest_packets_dropped_total', 'Media messages not passed on, by reason', [
      'reason',
    ]),
    timestampsClamped: counter(
      'ingest_timestamps_clamped_total',
      'Timestamps that stepped back a little, and tracks moved to the clock of the other',
    ),
    timelineBreaks: counter('ingest_timeline_breaks_total', 'Timelines that ended, by reason', ['reason']),
    heartbeats: counter('ingest_heartbeats_total', 'Heartbeats to the origin, by result', ['result']),
    endReports: counter('ingest_end_reports_total', 'Ends of publishes told to the origin, by result', [
      'result',
    ]),
    backlogBytes: gauge('ingest_backlog_bytes', 'Packets kept for readers'),
    readers: gauge('ingest_relay_readers', 'Readers of packets'),
    readersFailed: counter('ingest_relay_readers_failed_total', 'Readers cut off, by reason', ['reason']),
    residentBytes: gauge('ingest_process_resident_memory_bytes', 'Resident memory of the ingest process'),
    eventLoopDelaySeconds: gauge(
      'ingest_event_loop_delay_max_seconds',
      'Longest event loop delay of the last second',
    ),
    uncaughtErrors: counter(
      'ingest_uncaught_errors_total',
      'Errors that nothing caught; each ends the process',
    ),
  };
}
