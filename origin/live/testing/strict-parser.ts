import * as HLS from 'hls-parser';

/** Parses a media playlist. @throws whatever a strict parser finds wrong with it */
export function parseStrictly(text: string): HLS.types.MediaPlaylist {
  HLS.setOptions({ strictMode: true });
  const playlist = HLS.parse(text);
  if (playlist.isMasterPlaylist) throw new Error('this is a multivariant playlist');
  return playlist;
}

/** Parses a multivariant playlist. @throws whatever a strict parser finds wrong with it */
export function parseMultivariantStrictly(text: string): HLS.types.MasterPlaylist {
  HLS.setOptions({ strictMode: true });
  const playlist = HLS.parse(text);
  if (!playlist.isMasterPlaylist) throw new Error('this is a media playlist');
  return playlist;
}
