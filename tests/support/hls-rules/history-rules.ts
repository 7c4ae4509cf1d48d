import { comparePositions, lastPart } from '#bench/hls/live-edge.ts';
import type { ListedPart, ListedSegment, MediaPlaylist } from '#bench/hls/media-playlist.ts';
import type { PlaylistAnswer } from '#bench/hls/rendition-follower.ts';
import type { RecordedRendition } from '#tests/support/recorded-run.ts';
import type { Violations } from '#tests/support/hls-rules/violation.ts';

/** Frames differ by rounding, never by more than one of the slowest kind (24 fps). */
const FRAME_S = 0.042;

/** How a media playlist may change from answer to answer. @spec rfc8216bis §6.2.1 */
export function checkHistory(rendition: RecordedRendition, found: Violations): void {
  const where = rendition.url;
  const seen = new Remembered(where, found);
  let previous: MediaPlaylist | undefined;
  let longestS = 0;
  for (const answer of rendition.answers) {
    checkAnswer(answer, where, found);
    const { playlist } = answer;
    if (playlist === undefined) continue;
    seen.compare(playlist);
    checkProgramDateTime(playlist, where, found);
    if (previous !== undefined) checkStep(previous, playlist, where, found);
    longestS = Math.max(longestS, wholeSeconds(playlist));
    const floorS = Math.min(longestS, 3 * playlist.targetDurationS);
    found.expect(
      wholeSeconds(playlist) >= floorS - 0.01,
      'window_never_below_3_td',
      where,
      `${wholeSeconds(playlist)} s listed after ${longestS} s`,
    );
    previous = playlist;
  }
}

/** @spec rfc8216bis §6.2.5.2 */
function checkAnswer(answer: PlaylistAnswer, where: string, found: Violations): void {
  const { asked, playlist } = answer;
  const label = asked === undefined ? 'a plain request' : `the request for ${asked.msn}.${asked.part}`;
  found.expect(answer.status === 200, 'reload_status', where, `${label} was answered ${answer.status}`);
  found.expect(
    answer.headers.has('cache-control'),
    'playlist_cache_control',
    where,
    'a playlist without Cache-Control',
  );
  found.expect(
    answer.headers.get('access-control-allow-origin') === '*',
    'playlist_cors',
    where,
    'a playlist that other sites may not read',
  );
  if (asked === undefined || playlist === undefined || playlist.endlist) return;
  const last = lastPart(playlist);
  found.expect(
    last !== undefined && comparePositions(last, asked) >= 0,
    'blocking_reload_early',
    where,
    `${label} was answered before the part was there (last is ${last?.msn}.${last?.part})`,
  );
}

function checkStep(before: MediaPlaylist, after: MediaPlaylist, where: string, found: Violations): void {
  const grows = (name: string, from: number, to: number): void =>
    found.expect(to >= from, 'sequences_grow', where, `${name} fell from ${from} to ${to}`);
  grows('EXT-X-MEDIA-SEQUENCE', before.mediaSequence, after.mediaSequence);
  grows('EXT-X-DISCONTINUITY-SEQUENCE', before.discontinuitySequence ?? 0, after.discontinuitySequence ?? 0);
  const [lastBefore, lastAfter] = [lastPart(before), lastPart(after)];
  if (lastBefore !== undefined && lastAfter !== undefined)
    found.expect(
      comparePositions(lastAfter, lastBefore) >= 0,
      'edge_grows',
      where,
      `the edge fell back from ${lastBefore.msn}.${lastBefore.part} to ${lastAfter.msn}.${lastAfter.part}`,
    );
  found.expect(
    !before.endlist || after.endlist,
    'endlist_is_final',
    where,
    'a playlist went on after EXT-X-ENDLIST',
  );
  // A gap in the numbers would mean that segments came and went unseen between two parts.
  const lastMsn = before.segments.at(-1)?.msn;
  const firstMsn = after.segments[0]?.msn;
  if (lastMsn !== undefined && firstMsn !== undefined)
    found.expect(
      firstMsn <= lastMsn + 1,
      'window_overlaps',
      where,
      `segments ${lastMsn + 1} to ${firstMsn - 1} were never listed`,
    );
}

/** Explicit times agree with the durations between them. @spec rfc8216bis §4.4.4.6 */
function checkProgramDateTime(playlist: MediaPlaylist, where: string, found: Violations): void {
  found.expect(
    playlist.segments.length === 0 || playlist.segments[0]?.programDateTimeMs !== undefined,
    'pdt_at_start',
    where,
    'the first segment has no PROGRAM-DATE-TIME',
  );
  let expectedMs: number | undefined;
  for (const segment of playlist.segments) {
    const { programDateTimeMs, durationS } = segment;
    if (programDateTimeMs !== undefined && expectedMs !== undefined && !segment.discontinuity)
      found.expect(
        Math.abs(programDateTimeMs - expectedMs) <= FRAME_S * 1_000,
        'pdt_consistent',
        where,
        `PROGRAM-DATE-TIME of segment ${segment.msn} is ${programDateTimeMs - expectedMs} ms off its place`,
      );
    const startMs = programDateTimeMs ?? expectedMs;
    expectedMs = startMs === undefined || durationS === undefined ? undefined : startMs + durationS * 1_000;
  }
}

function wholeSeconds(playlist: MediaPlaylist): number {
  return playlist.segments.reduce((sum, { durationS = 0 }) => sum + durationS, 0);
}

/** Everything once said of a segment or a part holds for ever. */
class Remembered {
  readonly #where: string;
  readonly #found: Violations;
  readonly #facts = new Map<string, string>();

  constructor(where: string, found: Violations) {
    this.#where = where;
    this.#found = found;
  }

  compare(playlist: MediaPlaylist): void {
    let discontinuities = playlist.discontinuitySequence ?? 0;
    this.#constant('TARGETDURATION', String(playlist.targetDurationS));
    this.#constant('PART-TARGET', String(playlist.partTargetS));
    this.#constant('SERVER-CONTROL', [...playlist.serverControl].join(' '));
    for (const segment of playlist.segments) {
      if (segment.discontinuity) discontinuities += 1;
      this.#segment(segment, discontinuities);
      for (const part of segment.parts) this.#part(part);
    }
  }

  #segment(segment: ListedSegment, discontinuities: number): void {
    const name = `segment ${segment.msn}`;
    this.#constant(`discontinuity sequence number of ${name}`, String(discontinuities));
    this.#constant(`EXT-X-MAP of ${name}`, String(segment.mapUri));
    if (segment.programDateTimeMs !== undefined)
      this.#constant(`PROGRAM-DATE-TIME of ${name}`, String(segment.programDateTimeMs));
    if (segment.uri === undefined) return;
    this.#constant(`URI of ${name}`, segment.uri);
    this.#constant(`EXTINF of ${name}`, String(segment.durationS));
    this.#constant(`GAP of ${name}`, String(segment.gap));
    if (segment.parts.length > 0) this.#constant(`number of parts of ${name}`, String(segment.parts.length));
  }

  #part(part: ListedPart): void {
    const name = `part ${part.msn}.${part.part}`;
    this.#constant(
      name,
      `${part.uri} ${part.durationS} s, independent: ${part.independent}, gap: ${part.gap}`,
    );
  }

  #constant(name: string, value: string): void {
    const known = this.#facts.get(name);
    if (known === undefined) this.#facts.set(name, value);
    else
      this.#found.expect(
        known === value,
        'said_is_said',
        this.#where,
        `${name} changed from ${known} to ${value}`,
      );
  }
}
