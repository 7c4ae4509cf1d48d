import { quoted, tag, uriLine } from '#protocol/hls/attribute-list.ts';

/** Bits per second over real segments. @spec rfc8216bis §4.1 */
export type MeasuredBandwidth = { readonly peakBps: number; readonly averageBps: number };

type PlayableRendition = {
  readonly id: string;
  /** Relative to the multivariant playlist. */
  readonly uri: string;
  /** RFC 6381. */
  readonly codecs: string;
  readonly bandwidth: MeasuredBandwidth;
  /** What the encoder was told: the order of variants follows it, because measured rates change from load to load. */
  readonly nominalBps: number;
};
export type MultivariantVideo = PlayableRendition & {
  readonly width: number;
  readonly height: number;
  /** Frames per second. */
  readonly frameRate: number;
};
export type MultivariantAudio = PlayableRendition & { readonly channels: number };

/** What a multivariant playlist offers. @spec rfc8216bis §4.4.6 */
export type MultivariantPlaylist = {
  readonly video: readonly MultivariantVideo[];
  readonly audio: readonly MultivariantAudio[];
};

const AUDIO_GROUP = 'audio';
/**
 * Players begin with the variant that is listed first: the best one that most connections carry from the first second.
 */
const START_BANDWIDTH_MAX_BPS = 3_000_000;
/** The version that the media playlists speak; nothing in here needs it. */
const VERSION = 9;

/**
 * Writes a multivariant playlist: first the variant to begin with, then the others from high to low. With video, all
 * audio renditions form one group; without, each is a variant of its own.
 *
 * @throws {PlaylistValueError} when a value would break the text
 * @spec rfc8216bis §4.4.6
 */
export function writeMultivariantPlaylist(playlist: MultivariantPlaylist): string {
  const lines = ['#EXTM3U', `#EXT-X-VERSION:${VERSION}`, '#EXT-X-INDEPENDENT-SEGMENTS'];
  if (playlist.video.length === 0) {
    for (const audio of startFirst(playlist.audio, 0)) lines.push(...writeAudioVariant(audio));
  } else {
    playlist.audio.forEach((audio, index) => lines.push(writeAudioRendition(audio, index)));
    const audioBps = Math.max(0, ...playlist.audio.map(({ nominalBps }) => nominalBps));
    for (const video of startFirst(playlist.video, audioBps))
      lines.push(...writeVideoVariant(video, playlist.audio));
  }
  return `${lines.join('\n')}\n`;
}

/** High to low, but with the best that stays under the start bandwidth, or the lowest, in front. */
function startFirst<Rendition extends PlayableRendition>(
  renditions: readonly Rendition[],
  addedBps: number,
): Rendition[] {
  const ordered = renditions.toSorted((a, b) => b.nominalBps - a.nominalBps);
  const start =
    ordered.find(({ nominalBps }) => nominalBps + addedBps <= START_BANDWIDTH_MAX_BPS) ?? ordered.at(-1);
  return start === undefined ? [] : [start, ...ordered.filter((rendition) => rendition !== start)];
}

/** @spec rfc8216bis §4.4.6.1 */
function writeAudioRendition(audio: MultivariantAudio, index: number): string {
  return tag('EXT-X-MEDIA', {
    TYPE: 'AUDIO',
    'GROUP-ID': quoted(AUDIO_GROUP),
    NAME: quoted(index === 0 ? 'Audio' : `Audio ${index + 1}`),
    DEFAULT: index === 0 ? 'YES' : 'NO',
    AUTOSELECT: index === 0 ? 'YES' : 'NO',
    CHANNELS: quoted(String(audio.channels)),
    'STABLE-RENDITION-ID': quoted(audio.id),
    URI: quoted(audio.uri),
  });
}

/** @spec rfc8216bis §4.4.6.2 */
function writeVideoVariant(video: MultivariantVideo, group: readonly MultivariantAudio[]): string[] {
  const most = (rate: keyof MeasuredBandwidth): number =>
    Math.max(0, ...group.map(({ bandwidth }) => bandwidth[rate]));
  return [
    tag('EXT-X-STREAM-INF', {
      BANDWIDTH: String(video.bandwidth.peakBps + most('peakBps')),
      'AVERAGE-BANDWIDTH': String(video.bandwidth.averageBps + most('averageBps')),
      CODECS: quoted([...new Set([video.codecs, ...group.map(({ codecs }) => codecs)])].join(',')),
      RESOLUTION: `${video.width}x${video.height}`,
      'FRAME-RATE': video.frameRate.toFixed(3),
      'STABLE-VARIANT-ID': quoted(video.id),
      AUDIO: group.length === 0 ? undefined : quoted(AUDIO_GROUP),
      'CLOSED-CAPTIONS': 'NONE',
    }),
    uriLine(video.uri),
  ];
}

/** @spec rfc8216bis §4.4.6.2 */
function writeAudioVariant(audio: MultivariantAudio): string[] {
  return [
    tag('EXT-X-STREAM-INF', {
      BANDWIDTH: String(audio.bandwidth.peakBps),
      'AVERAGE-BANDWIDTH': String(audio.bandwidth.averageBps),
      CODECS: quoted(audio.codecs),
      'STABLE-VARIANT-ID': quoted(audio.id),
      'CLOSED-CAPTIONS': 'NONE',
    }),
    uriLine(audio.uri),
  ];
}
