import { PlaylistValueError, quoted, tag } from '#protocol/hls/attribute-list.ts';

/** How far another rendition's playlist has come. @spec rfc8216bis §4.4.5.4 */
export type RenditionReport = {
  /** Relative to the playlist that carries the report. */
  readonly uri: string;
  /** Of the newest part. */
  readonly lastMsn: number;
  readonly lastPart: number;
};

/**
 * EXT-X-RENDITION-REPORT. Both numbers are always written, though equal ones may be left out: not every client fills
 * them in again.
 *
 * @throws {PlaylistValueError} when the URI is not relative
 * @spec rfc8216bis §4.4.5.4
 */
export function writeRenditionReport(report: RenditionReport): string {
  if (/^([A-Za-z][A-Za-z0-9+.-]*:|\/)/.test(report.uri))
    throw new PlaylistValueError(`${report.uri} must be relative to its playlist`);
  return tag('EXT-X-RENDITION-REPORT', {
    URI: quoted(report.uri),
    'LAST-MSN': String(report.lastMsn),
    'LAST-PART': String(report.lastPart),
  });
}
