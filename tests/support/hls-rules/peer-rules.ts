import { lastPart, type PartPosition } from '#bench/hls/live-edge.ts';
import type { ListedSegment, MediaPlaylist } from '#bench/hls/media-playlist.ts';
import type { PlaylistAnswer } from '#bench/hls/rendition-follower.ts';
import type { RecordedRendition, RecordedRun } from '#tests/support/recorded-run.ts';
import type { Violations } from '#tests/support/hls-rules/violation.ts';

/** One video frame at 24 fps and one AAC frame at 44.1 kHz: how far cuts of different tracks may lie apart. */
const TRACK_OFFSET_MAX_MS = 42 + 24;

/** What all media playlists of a stream must have in common, and what they tell of each other. */
export function checkPeers(run: RecordedRun, found: Violations): void {
  const [first, ...others] = run.renditions;
  if (first === undefined) return found.expect(false, 'renditions', run.url, 'no rendition at all');
  for (const other of others) checkPair(first, other, found);
  const partsPerSegment = Math.max(1, ...segmentsOf(first).map(({ parts }) => parts.length));
  for (const rendition of run.renditions) checkReports(rendition, run, partsPerSegment, found);
}

/** @spec rfc8216bis §6.2.4 */
function checkPair(first: RecordedRendition, other: RecordedRendition, found: Violations): void {
  const [a, b] = [lastPlaylist(first), lastPlaylist(other)];
  const where = `${first.url} and ${other.url}`;
  if (a === undefined || b === undefined)
    return found.expect(false, 'renditions', where, 'one of them never had a playlist');
  const same = (name: string, one: unknown, two: unknown): void =>
    found.expect(
      String(one) === String(two),
      'peers_agree',
      where,
      `${name}: ${String(one)} and ${String(two)}`,
    );
  same('TARGETDURATION', a.targetDurationS, b.targetDurationS);
  same('PART-TARGET', a.partTargetS, b.partTargetS);
  same('SERVER-CONTROL', [...a.serverControl].join(' '), [...b.serverControl].join(' '));
  same('VERSION', a.version, b.version);
  const numbers = [discontinuityNumbers(first), discontinuityNumbers(other)] as const;
  const peers = new Map(segmentsOf(other).map((segment) => [segment.msn, segment]));
  for (const segment of segmentsOf(first)) {
    const peer = peers.get(segment.msn);
    if (peer === undefined) continue;
    same(
      `discontinuity sequence number of segment ${segment.msn}`,
      numbers[0].get(segment.msn),
      numbers[1].get(segment.msn),
    );
    same(`GAP of segment ${segment.msn}`, segment.gap, peer.gap);
    if (segment.parts.length > 0 && peer.parts.length > 0)
      same(`number of parts of segment ${segment.msn}`, segment.parts.length, peer.parts.length);
    // A gap begins where each track broke off.
    if (segment.gap || segment.programDateTimeMs === undefined || peer.programDateTimeMs === undefined)
      continue;
    const apartMs = Math.abs(segment.programDateTimeMs - peer.programDateTimeMs);
    found.expect(
      apartMs <= TRACK_OFFSET_MAX_MS,
      'pdt_of_peers',
      where,
      `PROGRAM-DATE-TIME of segment ${segment.msn} is ${apartMs} ms apart`,
    );
  }
}

/** @spec rfc8216bis §4.4.5.4 and appendix B.1 */
function checkReports(
  rendition: RecordedRendition,
  run: RecordedRun,
  partsPerSegment: number,
  found: Violations,
): void {
  const peers = run.renditions.filter(({ url }) => url !== rendition.url);
  for (const answer of rendition.answers) {
    if (answer.playlist === undefined || answer.playlist.endlist) continue;
    const reports = new Map(
      answer.playlist.renditionReports.map((report) => [new URL(report.uri, rendition.url).href, report]),
    );
    found.expect(
      reports.size === peers.length,
      'report_for_every_peer',
      rendition.url,
      `${reports.size} reports, ${peers.length} peers`,
    );
    for (const { uri } of answer.playlist.renditionReports)
      found.expect(
        !/^([a-z]+:)?\//i.test(uri),
        'report_uri_relative',
        rendition.url,
        `report URI ${uri} is not relative`,
      );
    for (const peer of peers) {
      const report = reports.get(peer.url);
      found.expect(report !== undefined, 'report_for_every_peer', rendition.url, `no report for ${peer.url}`);
      if (report === undefined) continue;
      checkReport(answer, { msn: report.lastMsn, part: report.lastPart }, peer, partsPerSegment, found);
    }
  }
}

/** At most one part behind what the peer had shown by then, and not ahead of what it showed next. */
function checkReport(
  answer: PlaylistAnswer,
  told: PartPosition,
  peer: RecordedRendition,
  partsPerSegment: number,
  found: Violations,
): void {
  const index = (position: PartPosition): number => position.msn * partsPerSegment + position.part;
  const before = peer.answers.findLast((other) => other.answeredAtMs <= answer.requestedAtMs)?.playlist;
  const after = peer.answers.find((other) => other.answeredAtMs >= answer.answeredAtMs)?.playlist;
  const [low, high] = [before, after].map((playlist) =>
    playlist === undefined ? undefined : lastPart(playlist),
  );
  const label = `report of ${told.msn}.${told.part} for ${peer.url}`;
  const where = answer.url;
  if (low !== undefined)
    found.expect(
      index(told) >= index(low) - 1,
      'report_is_fresh',
      where,
      `${label} although ${low.msn}.${low.part} was already out`,
    );
  if (high !== undefined)
    found.expect(
      index(told) <= index(high) + 1,
      'report_is_true',
      where,
      `${label} although only ${high.msn}.${high.part} came next`,
    );
}

/** Discontinuity sequence numbers by MSN; that they never change is judged elsewhere. @spec rfc8216bis §6.2.1 */
function discontinuityNumbers(rendition: RecordedRendition): Map<number, number> {
  const numbers = new Map<number, number>();
  for (const { playlist } of rendition.answers) {
    let number = playlist?.discontinuitySequence ?? 0;
    for (const segment of playlist?.segments ?? []) {
      if (segment.discontinuity) number += 1;
      numbers.set(segment.msn, number);
    }
  }
  return numbers;
}

function lastPlaylist(rendition: RecordedRendition): MediaPlaylist | undefined {
  return rendition.answers.findLast(({ playlist }) => playlist !== undefined)?.playlist;
}

/** Every complete segment that was ever listed, as it was listed last with its parts. */
export function segmentsOf(rendition: RecordedRendition): ListedSegment[] {
  const segments = new Map<number, ListedSegment>();
  for (const { playlist } of rendition.answers)
    for (const segment of playlist?.segments ?? []) {
      if (segment.uri === undefined) continue;
      if (segment.parts.length > 0 || !segments.has(segment.msn)) segments.set(segment.msn, segment);
    }
  return [...segments.values()];
}
