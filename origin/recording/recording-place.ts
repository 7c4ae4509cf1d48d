/** One recording: a life of playlists of a stream. `id` is the MSN of its first segment. */
export type RecordingRef = { readonly streamId: string; readonly id: number };

export const recordingKey = ({ streamId, id }: RecordingRef): string => `${streamId}/${id}`;
/** Everything of a recording lies below it. */
export const recordingPrefix = (ref: RecordingRef): string => `${recordingKey(ref)}/`;
export const segmentKey = (ref: RecordingRef, renditionId: string, msn: number): string =>
  `${recordingKey(ref)}/${fileSafe(renditionId)}/${msn}.m4s`;
export const initKey = (ref: RecordingRef, renditionId: string, timeline: number): string =>
  `${recordingKey(ref)}/${fileSafe(renditionId)}/init-${timeline}.mp4`;

/** Rendition ids are safe names already; this keeps `state` and the like apart from them on disk. */
const fileSafe = (renditionId: string): string => `r-${renditionId}`;
export const renditionFolder = fileSafe;
