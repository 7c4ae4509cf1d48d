import { segmentUri, initUri } from '#protocol/hls/media-uris.ts';
import type { MediaSegment } from '#protocol/hls/media-segment.ts';
import { writeMultivariantPlaylist } from '#protocol/hls/multivariant-playlist.ts';
import { writeRecordedPlaylist, type RecordedPlaylist } from '#protocol/hls/recorded-playlist.ts';
import type { PlaylistForm } from '#protocol/hls/delta-update.ts';
import { averageBitrate, peakBitrateAtEnd, type MeasuredSegment } from '#protocol/hls/segment-bitrate.ts';
import type { RecordingState } from '#origin/recording/recording-state.ts';
import { endUtcMsOf, type SegmentEntry } from '#origin/recording/segment-entry.ts';

/** Segments that bandwidths are measured over, spread over nothing: the newest ones. */
const SEGMENTS_MEASURED = 300;

/** The playlist that a viewer can rewind: as much of the entries as lies in the window. */
export function writeDvrPlaylist(
  state: RecordingState,
  entries: readonly SegmentEntry[],
  dvrWindowMs: number,
  isEnded: boolean,
  form: PlaylistForm,
): string {
  const newest = entries.at(-1);
  const fromMs = newest === undefined ? 0 : endUtcMsOf(newest) - dvrWindowMs;
  const first = Math.max(
    0,
    entries.findIndex((entry) => endUtcMsOf(entry) > fromMs),
  );
  return write(state, entries.slice(first), isEnded ? 'ended' : 'sliding', '', form);
}

/**
 * The playlist of a recording. Gaps at its end are left out: they kept the cadence while the stream waited for its
 * broadcaster, and there is nothing behind them.
 *
 * @param mediaBase goes before every media URI, for a playlist that does not lie beside them
 */
export function writeVodPlaylist(
  state: RecordingState,
  entries: readonly SegmentEntry[],
  mediaBase: string,
): string {
  const last = entries.findLastIndex(({ bytes }) => bytes > 0);
  return write(state, entries.slice(0, last + 1), 'vod', mediaBase, 'full');
}

function write(
  { constants }: RecordingState,
  entries: readonly SegmentEntry[],
  kind: RecordedPlaylist['kind'],
  mediaBase: string,
  form: PlaylistForm,
): string {
  const first = entries[0];
  const playlist = {
    constants,
    kind,
    mediaSequence: first?.msn ?? 0,
    // @spec rfc8216bis §6.2.2: a tag that is still listed is not counted
    discontinuitySequence:
      first === undefined ? 0 : first.discontinuityNumber - (first.discontinuity ? 1 : 0),
    segments: entries.map((entry) => listed(entry, mediaBase)),
  };
  return writeRecordedPlaylist(playlist, form);
}

function listed(entry: SegmentEntry, mediaBase: string): MediaSegment {
  const { msn, initTimeline, discontinuity, startUtcMs, durationTicks, timescale, bytes } = entry;
  return {
    uri: `${mediaBase}${segmentUri(msn)}`,
    mapUri: initTimeline === null ? undefined : `${mediaBase}${initUri(initTimeline)}`,
    discontinuity,
    programDateTimeMs: startUtcMs,
    duration: { ticks: durationTicks, timescale },
    gap: bytes === 0,
    parts: [],
  };
}

/**
 * What a recording offers.
 *
 * @param entriesOf the newest entries of a rendition; one without media is not offered
 * @param uriOf a rendition's playlist, from the multivariant playlist
 */
export function writeRecordedMultivariant(
  state: RecordingState,
  entriesOf: (renditionId: string) => readonly SegmentEntry[],
  uriOf: (renditionId: string) => string,
): string {
  const offered = state.renditions.flatMap(({ description, isRetired }) => {
    const segments = entriesOf(description.id)
      .filter(({ bytes }) => bytes > 0)
      .slice(-SEGMENTS_MEASURED)
      .map(({ bytes, durationTicks: ticks, timescale }) => ({ bytes, duration: { ticks, timescale } }));
    if (isRetired || segments.length === 0) return [];
    const { id, codecs, bitrateBps } = description;
    const bandwidth = measure(segments, state.constants.targetDurationS, bitrateBps);
    return { description, common: { id, codecs, uri: uriOf(id), nominalBps: bitrateBps, bandwidth } };
  });
  return writeMultivariantPlaylist({
    video: offered.flatMap(({ description, common }) => {
      if (description.kind !== 'video') return [];
      const { width, height, frameRate } = description;
      return { ...common, width, height, frameRate: frameRate.numerator / frameRate.denominator };
    }),
    audio: offered.flatMap(({ description, common }) =>
      description.kind === 'audio' ? { ...common, channels: description.channels } : [],
    ),
  });
}

function measure(segments: readonly MeasuredSegment[], targetDurationS: number, nominalBps: number) {
  const averageBps = averageBitrate(segments) ?? nominalBps;
  let peakBps = averageBps;
  // A set of segments that counts spans few of them.
  for (let end = 1; end <= segments.length; end++)
    peakBps = Math.max(
      peakBps,
      peakBitrateAtEnd(segments.slice(Math.max(0, end - 8), end), targetDurationS) ?? 0,
    );
  return { averageBps, peakBps };
}
