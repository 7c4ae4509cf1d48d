import { quoted, tag } from '#protocol/hls/attribute-list.ts';

/** A resource that may be asked for before it exists. @spec rfc8216bis §4.4.5.3 */
export type PreloadHint = { readonly type: 'PART' | 'MAP'; readonly uri: string };

/** EXT-X-PRELOAD-HINT. @spec rfc8216bis §4.4.5.3 */
export function writePreloadHint(hint: PreloadHint): string {
  return tag('EXT-X-PRELOAD-HINT', { TYPE: hint.type, URI: quoted(hint.uri) });
}
