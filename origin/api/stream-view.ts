import type { z } from 'zod';
import type { StreamAnswer, StreamKeyAnswer } from '#origin/api/answers.ts';
import type { StreamKeyRecord, StreamRecord } from '#origin/registry/stream-record.ts';
import type { StreamStatus } from '#origin/api/stream-status.ts';

/** The addresses at which a stream is published and played. */
export type StreamAddresses = {
  /** RTMP URLs that a stream key is appended to, primary first. */
  readonly ingestUrls: readonly string[];
  /** Scheme, host and port of the playback URLs. */
  readonly playbackBase: string;
};

/** A stream as the API answers it. Holds no key. */
export type StreamView = z.output<typeof StreamAnswer>;

export function toStreamView(
  stream: StreamRecord,
  status: StreamStatus,
  addresses: StreamAddresses,
): StreamView {
  const { state, ...details } = status;
  return {
    id: stream.id,
    name: stream.name,
    status: state,
    ...details,
    ingest: addresses.ingestUrls,
    playback: { hls: playbackUrl(stream.id, addresses.playbackBase) },
    ladder: stream.ladder,
    segmentDurationMs: stream.segmentDurationMs,
    partDurationMs: stream.partDurationMs,
    reconnectWindow: stream.reconnectWindowS,
    dvrWindow: stream.dvrWindowS,
    retention: stream.retentionS,
    access: stream.access,
    createdAt: new Date(stream.createdAtMs).toISOString(),
    updatedAt: new Date(stream.updatedAtMs).toISOString(),
  };
}

/** A key as the API shows it: by its id, never the key. */
export function toKeyView(key: StreamKeyRecord): z.output<typeof StreamKeyAnswer> {
  return {
    id: key.id,
    createdAt: new Date(key.createdAtMs).toISOString(),
    expiresAt: key.notAfterMs === null ? null : new Date(key.notAfterMs).toISOString(),
  };
}

export function playbackUrl(streamId: string, playbackBase: string): string {
  return `${playbackBase}/live/${streamId}/master.m3u8`;
}
