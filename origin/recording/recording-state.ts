import { z } from 'zod';
import { Presentation, RenditionDescription } from '#protocol/ingest/publish-session.ts';
import type { PresentationState } from '#origin/live/stream-recorder.ts';

/** What is stored of a presentation beside its segments; `v` grows when an older program could not read it. */
export const recordingState = z.object({
  v: z.literal(1),
  constants: z.object({ targetDurationS: z.int().min(1), partTargetMs: z.int().min(1) }),
  liveWindowMs: z.number().min(0),
  reconnectWindowMs: z.number().min(0),
  writer: z.object({ sessionId: z.string(), fencingToken: z.int().min(1) }),
  timeline: z.object({
    firstMsn: z.int().min(1),
    presentation: Presentation,
    startUtcMs: z.number(),
    beganUtcMs: z.number(),
    discontinuityNumber: z.int().min(0),
  }),
  renditions: z.array(z.object({ description: RenditionDescription, isRetired: z.boolean() })).max(64),
});
export type RecordingState = z.infer<typeof recordingState>;

/** What stands in the spool beside the segments. */
export const spooledState = z.object({
  beganAtMs: z.number(),
  wish: z.object({ dvrWindowMs: z.number().min(0), retentionMs: z.number().min(0) }),
  state: recordingState,
});
export type SpooledState = z.infer<typeof spooledState>;

export const toRecordingState = (state: PresentationState): RecordingState =>
  recordingState.parse({ v: 1, ...state });
