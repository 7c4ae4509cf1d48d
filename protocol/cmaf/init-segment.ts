import { parseAudioSpecificConfig } from '#protocol/cmaf/audio-specific-config.ts';
import { boxesIn, findBox, fullBox, requireBox, viewOf, type Box } from '#protocol/cmaf/boxes.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';
import type { SampleDefaults } from '#protocol/cmaf/fragment.ts';

/** What the init segment of one track says. */
export type CmafTrack = {
  readonly trackId: number;
  readonly timescale: number;
  /** RFC 6381, e.g. `avc1.64001F` or `mp4a.40.2`. */
  readonly codecs: string;
  readonly defaults: SampleDefaults;
} & (
  | { readonly kind: 'video'; readonly width: number; readonly height: number }
  | { readonly kind: 'audio'; readonly channels: number; readonly sampleRateHz: number }
);

/** Bytes of a VisualSampleEntry before its child boxes, size and type not counted. @spec ISO/IEC 14496-12 §12.1.3 */
const VISUAL_ENTRY_BYTES = 78;
/** The same for an AudioSampleEntry. @spec ISO/IEC 14496-12 §12.2.3 */
const AUDIO_ENTRY_BYTES = 28;

/**
 * Reads a `moov` of one AVC or AAC track.
 *
 * @throws {CmafError} when boxes are damaged or missing, there is more than one track, or the codec is another one
 */
export function parseMovie(moov: Box): CmafTrack {
  const tracks = [...boxesIn(moov.payload)].filter((box) => box.type === 'trak');
  if (tracks.length !== 1)
    throw new CmafError('box_content_invalid', `an init segment must hold one track, not ${tracks.length}`);
  const track = tracks[0] as Box;
  const base = {
    trackId: readTrackId(requireBox(track.payload, ['tkhd'])),
    timescale: readTimescale(requireBox(track.payload, ['mdia', 'mdhd'])),
    defaults: readDefaults(requireBox(moov.payload, ['mvex', 'trex'])),
  };
  const descriptions = fullBox(requireBox(track.payload, ['mdia', 'minf', 'stbl', 'stsd']), 4).body;
  const entry = [
    ...boxesIn(new Uint8Array(descriptions.buffer, descriptions.byteOffset + 4, descriptions.byteLength - 4)),
  ][0];
  if (entry?.type === 'avc1') return { ...base, ...readAvc1(entry) };
  if (entry?.type === 'mp4a') return { ...base, ...readMp4a(entry) };
  throw new CmafError('box_content_invalid', `'${entry?.type ?? 'nothing'}' is not a codec that we cut`);
}

/** Reads a whole init segment, `ftyp` and `moov`. @throws {CmafError} as {@link parseMovie} */
export function parseInitSegment(bytes: Uint8Array): CmafTrack {
  return parseMovie(requireBox(bytes, ['moov']));
}

/**
 * What the samples of an init segment's track are unless they say otherwise.
 *
 * @throws {CmafError} when boxes are damaged or missing
 */
export function parseSampleDefaults(bytes: Uint8Array): SampleDefaults {
  return readDefaults(requireBox(bytes, ['moov', 'mvex', 'trex']));
}

/** CODECS of an AVCDecoderConfigurationRecord. @spec RFC 6381 §3.3 */
export function avcCodecs(record: Uint8Array): string {
  return `avc1.${[...record.subarray(1, 4)]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .toUpperCase()}`;
}

function readAvc1(entry: Box): { kind: 'video'; codecs: string; width: number; height: number } {
  if (entry.payload.length < VISUAL_ENTRY_BYTES)
    throw new CmafError('box_size_invalid', "'avc1' is too short");
  const view = viewOf(entry.payload);
  const record = requireBox(entry.payload.subarray(VISUAL_ENTRY_BYTES), ['avcC']).payload;
  if (record.length < 7) throw new CmafError('box_size_invalid', "'avcC' is too short");
  return {
    kind: 'video',
    codecs: avcCodecs(record),
    width: view.getUint16(24),
    height: view.getUint16(26),
  };
}

function readMp4a(entry: Box): { kind: 'audio'; codecs: string; channels: number; sampleRateHz: number } {
  if (entry.payload.length < AUDIO_ENTRY_BYTES)
    throw new CmafError('box_size_invalid', "'mp4a' is too short");
  const esds = requireBox(entry.payload.subarray(AUDIO_ENTRY_BYTES), ['esds']);
  const { objectType, config } = readDecoderConfig(esds);
  const audio = parseAudioSpecificConfig(config);
  const entryChannels = viewOf(entry.payload).getUint16(16);
  return {
    kind: 'audio',
    codecs: `mp4a.${objectType.toString(16).padStart(2, '0')}.${audio.objectType}`,
    channels: audio.channels === 0 ? entryChannels : audio.channels,
    sampleRateHz: audio.sampleRateHz,
  };
}

/** Finds the DecoderConfigDescriptor and what is in it. @spec ISO/IEC 14496-1 §7.2.6 */
function readDecoderConfig(esds: Box): { objectType: number; config: Uint8Array } {
  const [ES, DECODER, SPECIFIC] = [3, 4, 5];
  let bytes = esds.payload.subarray(4);
  let objectType = 0;
  for (let depth = 0; depth < 3; depth++) {
    const descriptor = readDescriptor(bytes);
    if (descriptor.tag === ES) {
      const flags = descriptor.body[2] ?? 0;
      if ((flags & 0xe0) !== 0)
        throw new CmafError('box_content_invalid', 'an ES descriptor with options is not supported');
      bytes = descriptor.body.subarray(3);
    } else if (descriptor.tag === DECODER) {
      objectType = descriptor.body[0] ?? 0;
      bytes = descriptor.body.subarray(13);
    } else if (descriptor.tag === SPECIFIC) return { objectType, config: descriptor.body };
    else break;
  }
  throw new CmafError('box_content_invalid', "'esds' holds no decoder configuration");
}

function readDescriptor(bytes: Uint8Array): { tag: number; body: Uint8Array } {
  let length = 0;
  for (let index = 1; index <= 4; index++) {
    const byte = bytes[index];
    if (byte === undefined) break;
    length = (length << 7) | (byte & 0x7f);
    if ((byte & 0x80) !== 0) continue;
    const body = bytes.subarray(index + 1, index + 1 + length);
    if (body.length < length) break;
    return { tag: bytes[0] ?? 0, body };
  }
  throw new CmafError('box_size_invalid', 'a descriptor is cut off');
}

function readTrackId(tkhd: Box): number {
  const { version, body } = fullBox(tkhd, 20);
  return body.getUint32(version === 1 ? 16 : 8);
}

function readTimescale(mdhd: Box): number {
  const { version, body } = fullBox(mdhd, 20);
  const timescale = body.getUint32(version === 1 ? 16 : 8);
  if (timescale === 0) throw new CmafError('box_content_invalid', 'a track has no timescale');
  return timescale;
}

function readDefaults(trex: Box): SampleDefaults {
  const { body } = fullBox(trex, 20);
  return {
    durationTicks: body.getUint32(8),
    sizeBytes: body.getUint32(12),
    flags: body.getUint32(16),
  };
}

/** Whether an edit list shifts the timeline of the track, which parts on a grid cannot have. */
export function hasEditList(init: Uint8Array): boolean {
  const track = requireBox(init, ['moov', 'trak']);
  return findBox(track.payload, 'edts') !== undefined;
}
