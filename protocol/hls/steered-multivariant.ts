import { quoted, tag } from '#protocol/hls/attribute-list.ts';
import { renditionPlaylistUri } from '#protocol/hls/media-uris.ts';
import type { LadderEntry, MultivariantLadder } from '#protocol/hls/multivariant-ladder.ts';

/** A pathway of a multivariant playlist. */
export type LadderPathway = {
  /** A valid pathway id. */
  readonly id: string;
  /** URL of the folder of the stream, absolute or '' for the playlist's own; ends in a slash when it is not ''. */
  readonly folder: string;
};

/** EXT-X-CONTENT-STEERING. @spec rfc8216bis §4.4.6.6 */
export type ContentSteering = {
  readonly serverUri: string;
  /** One of the pathways. */
  readonly pathwayId: string;
};

/**
 * Writes a ladder once for every pathway, in their order, each with audio groups of its own; the ladders are equal in
 * order, number and attributes, by which players find the same variant on another pathway.
 *
 * @throws {PlaylistValueError} when a folder or URI would break the text
 * @spec rfc8216bis §4.4.6.6, §7.1
 */
export function writeSteeredMultivariant(
  ladder: MultivariantLadder,
  pathways: readonly LadderPathway[],
  steering: ContentSteering | undefined,
): string {
  const lines = head(ladder);
  if (steering !== undefined)
    lines.push(
      tag('EXT-X-CONTENT-STEERING', {
        'SERVER-URI': quoted(steering.serverUri),
        'PATHWAY-ID': quoted(steering.pathwayId),
      }),
    );
  for (const { id, folder } of pathways)
    for (const audio of ladder.audio)
      lines.push(
        `#EXT-X-MEDIA:${audio.attributes},GROUP-ID="${audio.audioGroup}-${id}",URI=${quoted(uriOf(audio, folder))}`,
      );
  for (const { id, folder } of pathways)
    for (const variant of ladder.variants) {
      const group = variant.audioGroup === undefined ? '' : `,AUDIO="${variant.audioGroup}-${id}"`;
      lines.push(
        `#EXT-X-STREAM-INF:${variant.attributes}${group},PATHWAY-ID="${id}"`,
        uriOf(variant, folder),
      );
    }
  return `${lines.join('\n')}\n`;
}

/**
 * Writes a ladder once for every place, without pathways: redundant variants, by which a player that does not steer finds
 * another place by itself when one fails.
 *
 * @param places names for the audio groups, and folders as in {@link LadderPathway}; the first is to be used
 * @spec rfc8216bis §4.4.6.2.1
 */
export function writeRedundantMultivariant(
  ladder: MultivariantLadder,
  places: readonly LadderPathway[],
): string {
  return writeSteeredMultivariant(ladder, places, undefined).replace(/,PATHWAY-ID="[^"]*"$/gm, '');
}

/** Writes a ladder for a player that does not steer: one place, no pathways. */
export function writeSingleMultivariant(ladder: MultivariantLadder, folder: string): string {
  const lines = head(ladder);
  for (const audio of ladder.audio)
    lines.push(
      `#EXT-X-MEDIA:${audio.attributes},GROUP-ID="${audio.audioGroup}",URI=${quoted(uriOf(audio, folder))}`,
    );
  for (const variant of ladder.variants) {
    const group = variant.audioGroup === undefined ? '' : `,AUDIO="${variant.audioGroup}"`;
    lines.push(`#EXT-X-STREAM-INF:${variant.attributes}${group}`, uriOf(variant, folder));
  }
  return `${lines.join('\n')}\n`;
}

function head({ version, independentSegments }: MultivariantLadder): string[] {
  const lines = ['#EXTM3U', `#EXT-X-VERSION:${version}`];
  if (independentSegments) lines.push('#EXT-X-INDEPENDENT-SEGMENTS');
  return lines;
}

function uriOf({ renditionId }: LadderEntry, folder: string): string {
  return folder + renditionPlaylistUri(renditionId);
}
