import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

/**
 * ISO base media boxes as views into one buffer: nothing is copied while reading. Offsets are bytes.
 *
 * @spec ISO/IEC 14496-12 §4.2
 */
export type Box = {
  /** Four printable characters. */
  readonly type: string;
  /** The whole box, header included. */
  readonly bytes: Uint8Array;
  /** What follows the header. */
  readonly payload: Uint8Array;
};

/** Bytes of a compact box header: size and type. */
export const BOX_HEADER_BYTES = 8;

/** A DataView over exactly the bytes of a Uint8Array. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * The type in a box header.
 *
 * @throws {CmafError} `box_unexpected` when it is not four printable ASCII characters
 */
export function boxTypeAt(bytes: Uint8Array, offset: number): string {
  let type = '';
  for (let index = 0; index < 4; index++) {
    const code = bytes[offset + index] ?? 0;
    if (code < 0x20 || code > 0x7e)
      throw new CmafError('box_unexpected', `a box type holds the byte 0x${code.toString(16)}`);
    type += String.fromCharCode(code);
  }
  return type;
}

/**
 * The boxes that fill `bytes` one after another.
 *
 * @throws {CmafError} when a box does not end where it should; 64-bit sizes and boxes "to the end" are not accepted
 */
export function* boxesIn(bytes: Uint8Array): Generator<Box> {
  const view = viewOf(bytes);
  for (let offset = 0; offset < bytes.length;) {
    if (bytes.length - offset < BOX_HEADER_BYTES)
      throw new CmafError('box_size_invalid', `${bytes.length - offset} bytes are left over after a box`);
    const size = view.getUint32(offset);
    const type = boxTypeAt(bytes, offset + 4);
    if (size < BOX_HEADER_BYTES || size > bytes.length - offset)
      throw new CmafError('box_size_invalid', `'${type}' says ${size} bytes of ${bytes.length - offset}`);
    yield {
      type,
      bytes: bytes.subarray(offset, offset + size),
      payload: bytes.subarray(offset + BOX_HEADER_BYTES, offset + size),
    };
    offset += size;
  }
}

/** The first child of that type, or undefined. @throws {CmafError} as {@link boxesIn} */
export function findBox(bytes: Uint8Array, type: string): Box | undefined {
  for (const box of boxesIn(bytes)) if (box.type === type) return box;
  return undefined;
}

/** The only box at a path such as `['moov', 'trak', 'mdia']`. @throws {CmafError} `box_missing` when there is none */
export function requireBox(bytes: Uint8Array, path: readonly string[]): Box {
  let found: Box | undefined;
  let within = bytes;
  for (const type of path) {
    found = findBox(within, type);
    if (found === undefined)
      throw new CmafError('box_missing', `there is no '${type}' in '${path.join('/')}'`);
    within = found.payload;
  }
  if (found === undefined) throw new CmafError('box_missing', 'an empty path names no box');
  return found;
}

/** Version and flags of a full box. @spec ISO/IEC 14496-12 §4.2.2 */
export type FullBox = { readonly version: number; readonly flags: number; readonly body: DataView };

/** Reads the head of a full box's payload. @throws {CmafError} when it is shorter than `bodyBytesMin` + 4 */
export function fullBox(box: Box, bodyBytesMin = 0): FullBox {
  if (box.payload.length < 4 + bodyBytesMin)
    throw new CmafError('box_size_invalid', `'${box.type}' is too short: ${box.payload.length} bytes`);
  const head = viewOf(box.payload).getUint32(0);
  return { version: head >>> 24, flags: head & 0xff_ffff, body: viewOf(box.payload.subarray(4)) };
}

/** Builds a box around its contents. */
export function makeBox(type: string, ...contents: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = contents.reduce((sum, content) => sum + content.length, BOX_HEADER_BYTES);
  const bytes = new Uint8Array(size);
  viewOf(bytes).setUint32(0, size);
  for (let index = 0; index < 4; index++) bytes[4 + index] = type.charCodeAt(index);
  let offset = BOX_HEADER_BYTES;
  for (const content of contents) {
    bytes.set(content, offset);
    offset += content.length;
  }
  return bytes;
}

/** Builds a full box around its contents. */
export function makeFullBox(
  type: string,
  version: number,
  flags: number,
  ...contents: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  return makeBox(type, u32((version * 0x100_0000 + flags) >>> 0), ...contents);
}

/** Big-endian 32-bit words. */
export function u32(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * 4);
  const view = viewOf(bytes);
  values.forEach((value, index) => view.setUint32(index * 4, value));
  return bytes;
}

/** Big-endian 16-bit words. */
export function u16(...values: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * 2);
  const view = viewOf(bytes);
  values.forEach((value, index) => view.setUint16(index * 2, value));
  return bytes;
}

/** ASCII characters as bytes. */
export function ascii(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
