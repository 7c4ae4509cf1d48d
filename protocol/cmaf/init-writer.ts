import { ascii, makeBox, makeFullBox, u16, u32 } from '#protocol/cmaf/boxes.ts';

/** The AVC track that an init segment is written for. */
export type AvcTrackDescription = {
  readonly timescale: number;
  readonly width: number;
  readonly height: number;
  /** AVCDecoderConfigurationRecord. */
  readonly configuration: Uint8Array;
};

/** Track id in everything that we write ourselves. */
export const OWN_TRACK_ID = 1;

const UNITY_MATRIX = u32(0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000);
const PIXELS_PER_INCH_72 = 0x48_0000;
const LANGUAGE_UNDETERMINED = 0x55c4;

/**
 * Writes the init segment of an AVC track whose frames are copied from the broadcaster.
 *
 * @spec ISO/IEC 23000-19 §7.3.1
 */
export function writeAvcInitSegment(track: AvcTrackDescription): Uint8Array<ArrayBuffer> {
  const empty = (type: string): Uint8Array => makeFullBox(type, 0, 0, u32(0));
  const sampleTable = makeBox(
    'stbl',
    makeFullBox('stsd', 0, 0, u32(1), makeAvc1(track)),
    empty('stts'),
    empty('stsc'),
    makeFullBox('stsz', 0, 0, u32(0, 0)),
    empty('stco'),
  );
  const media = makeBox(
    'mdia',
    makeFullBox('mdhd', 0, 0, u32(0, 0, track.timescale, 0), u16(LANGUAGE_UNDETERMINED, 0)),
    makeFullBox('hdlr', 0, 0, u32(0), ascii('vide'), u32(0, 0, 0), ascii('video\0')),
    makeBox(
      'minf',
      makeFullBox('vmhd', 0, 1, u16(0, 0, 0, 0)),
      makeBox('dinf', makeFullBox('dref', 0, 0, u32(1), makeFullBox('url ', 0, 1))),
      sampleTable,
    ),
  );
  return concatenate(
    makeBox('ftyp', ascii('iso6'), u32(0x200), ascii('iso6cmfcmp41')),
    makeBox(
      'moov',
      makeFullBox(
        'mvhd',
        0,
        0,
        u32(0, 0, 1000, 0, 0x1_0000),
        u16(0x0100, 0),
        u32(0, 0),
        UNITY_MATRIX,
        new Uint8Array(24),
        u32(OWN_TRACK_ID + 1),
      ),
      makeBox(
        'trak',
        makeFullBox(
          'tkhd',
          0,
          3,
          u32(0, 0, OWN_TRACK_ID, 0, 0, 0, 0),
          u16(0, 0, 0, 0),
          UNITY_MATRIX,
          u32(track.width * 0x1_0000, track.height * 0x1_0000),
        ),
        media,
      ),
      makeBox('mvex', makeFullBox('trex', 0, 0, u32(OWN_TRACK_ID, 1, 0, 0, 0))),
    ),
  );
}

function makeAvc1(track: AvcTrackDescription): Uint8Array {
  return makeBox(
    'avc1',
    new Uint8Array(6),
    u16(1, 0, 0),
    u32(0, 0, 0),
    u16(track.width, track.height),
    u32(PIXELS_PER_INCH_72, PIXELS_PER_INCH_72, 0),
    u16(1),
    new Uint8Array(32),
    u16(0x18, 0xffff),
    makeBox('avcC', track.configuration),
  );
}

function concatenate(...chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}
