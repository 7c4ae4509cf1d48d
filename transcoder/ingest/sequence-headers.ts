import { parseAudioSpecificConfig } from '#protocol/cmaf/audio-specific-config.ts';
import { parseAvcConfiguration } from '#protocol/cmaf/avc-configuration.ts';
import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

/** What an H.264 sequence header says about the picture. */
export type VideoHeader = {
  /** RFC 6381, e.g. `avc1.64001f`. */
  readonly codec: string;
  /** Of the picture as shown, cropping applied. */
  readonly width: number;
  readonly height: number;
};

/** A sequence header that no decoder could use. */
export class SequenceHeaderError extends Error {
  override readonly name = 'SequenceHeaderError';
  readonly code = 'media_malformed';
}

/**
 * Reads an AVCDecoderConfigurationRecord.
 *
 * @throws {SequenceHeaderError} when it is cut short or its parameter set makes no sense
 * @spec ISO/IEC 14496-15 §5.3.3.1
 */
export function readVideoHeader(record: Uint8Array): VideoHeader {
  const { width, height } = readable(() => parseAvcConfiguration(record));
  // Takes part in no decision, but must be whole: it is compared with the next header.
  parameterSets(record);
  return { codec: `avc1.${Buffer.from(record.subarray(1, 4)).toString('hex')}`, width, height };
}

/** Whether two sequence headers describe the same video, whatever their reserved bits and extensions say. */
export function isSameVideo(a: Uint8Array, b: Uint8Array): boolean {
  if (Buffer.compare(a, b) === 0) return true;
  const [left, right] = [parameterSets(a), parameterSets(b)];
  return (
    left.lengthSize === right.lengthSize &&
    left.sets.length === right.sets.length &&
    left.sets.every((set, index) => Buffer.compare(set, right.sets[index] ?? new Uint8Array()) === 0)
  );
}

/**
 * The RFC 6381 name of the audio that an AudioSpecificConfig describes, e.g. `mp4a.40.2`.
 *
 * @throws {SequenceHeaderError} when it is cut short or names no object type or sampling frequency
 * @spec ISO/IEC 14496-3 §1.6.2.1
 */
export function readAudioHeader(config: Uint8Array): string {
  const { objectType } = readable(() => parseAudioSpecificConfig(config));
  if (objectType === 0) throw new SequenceHeaderError('the audio header names no object type');
  return `mp4a.40.${objectType}`;
}

/** All parameter sets in order; sequence parameter sets name themselves apart from picture parameter sets. */
function parameterSets(record: Uint8Array): { lengthSize: number; sets: Uint8Array[] } {
  const sets: Uint8Array[] = [];
  let offset = 5;
  for (const countMask of [0x1f, 0xff]) {
    const count = record[offset++];
    if (count === undefined) throw new SequenceHeaderError('the sequence header is cut short');
    for (let index = 0; index < (count & countMask); index++) {
      const length = ((record[offset] ?? 0) << 8) | (record[offset + 1] ?? 0);
      const set = record.subarray(offset + 2, offset + 2 + length);
      if (length === 0 || set.length !== length)
        throw new SequenceHeaderError('a parameter set of the sequence header is cut short');
      sets.push(set);
      offset += 2 + length;
    }
  }
  return { lengthSize: ((record[4] ?? 0) & 3) + 1, sets };
}

function readable<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CmafError)) throw error;
    throw new SequenceHeaderError(error.message, { cause: error });
  }
}
