import Hls from 'hls.js';
import type { Part } from 'hls.js';

/** What is asked of a part of a playlist. */
export type JoinedPart = Pick<Part, 'index' | 'start' | 'end' | 'loaded' | 'elementaryStreams'> & {
  readonly fragment: { readonly sn: number };
};

/**
 * Lets hls.js go on after it has joined a segment in its middle, as it does with audio on every other pathway that steering
 * sends it to: the segment's beginning came from the pathway before and is in the buffer, but hls.js 1.7.4 knows those parts
 * for loaded in the old playlist only. At the segment's end it would wait for them until they are no longer listed, 3 s and
 * more without media.
 */
export function watchJoinedSegments(hls: Hls): void {
  hls.on(Hls.Events.FRAG_BUFFERED, (_event, { part, frag, id }) => {
    if (part === null) return;
    const playlist = id === 'audio' ? hls.audioTracks[frag.level] : hls.levels[frag.level];
    markJoined(playlist?.details?.partList ?? [], part, hls.media?.buffered);
  });
}

/** Takes the parts before `appended` in the same segment for loaded, where their media are in the buffer. */
export function markJoined(
  parts: readonly JoinedPart[],
  appended: JoinedPart,
  buffered: Pick<TimeRanges, 'length' | 'start' | 'end'> | undefined,
): void {
  for (const part of parts) {
    const isBefore = part.fragment.sn === appended.fragment.sn && part.index < appended.index;
    if (isBefore && !part.loaded && holds(buffered, (part.start + part.end) / 2))
      part.elementaryStreams = { ...appended.elementaryStreams };
  }
}

function holds(buffered: Pick<TimeRanges, 'length' | 'start' | 'end'> | undefined, timeS: number): boolean {
  for (let i = 0; i < (buffered?.length ?? 0); i++)
    if (buffered !== undefined && buffered.start(i) <= timeS && timeS <= buffered.end(i)) return true;
  return false;
}
