import type { AmfValue } from './amf0-reader.ts';

/** What an encoder claims about its stream: plain values only, names and texts cut to a length fit for a log. */
export type MetadataValues = Readonly<Record<string, number | string | boolean>>;

const NAME_LENGTH_MAX = 64;
const TEXT_LENGTH_MAX = 256;

/**
 * The onMetaData values of a data message, or undefined when it is another kind of data message.
 *
 * @param message `['@setDataFrame', 'onMetaData', {…}]` or `['onMetaData', {…}]`
 * @spec Adobe FLV 10.1 §E.5
 */
export function toMetadata(message: readonly AmfValue[]): MetadataValues | undefined {
  const values = message[0] === '@setDataFrame' ? message.slice(1) : message;
  const members = values[1];
  if (values[0] !== 'onMetaData' || !(members instanceof Map)) return undefined;
  const metadata: Record<string, number | string | boolean> = Object.create(null) as Record<string, never>;
  for (const [name, value] of members as ReadonlyMap<string, AmfValue>) {
    if (name === '' || name.length > NAME_LENGTH_MAX) continue;
    if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value)))
      metadata[name] = value;
    else if (typeof value === 'string') metadata[name] = value.slice(0, TEXT_LENGTH_MAX);
  }
  return metadata;
}

/**
 * Whether the encoder says that a track will come: `undefined` when it says nothing about any track, which leaves both
 * possible.
 */
export function announces(
  metadata: MetadataValues | undefined,
  track: 'video' | 'audio',
): boolean | undefined {
  if (metadata === undefined) return undefined;
  const video = isSet(metadata['videocodecid']) || isSet(metadata['width']) || isSet(metadata['framerate']);
  const audio = isSet(metadata['audiocodecid']) || isSet(metadata['audiosamplerate']);
  if (!video && !audio) return undefined;
  return track === 'video' ? video : audio;
}

/** Encoders write 0 or an empty text for what they do not have. */
function isSet(value: number | string | boolean | undefined): boolean {
  return value !== undefined && value !== 0 && value !== '' && value !== false;
}
