/** A decoded AMF0 value. Objects are Maps, so that no name in them can reach a prototype. */
export type AmfValue = number | boolean | string | null | undefined | AmfObject | readonly AmfValue[];
export type AmfObject = ReadonlyMap<string, AmfValue>;

/** What a peer may make us decode. */
export type AmfLimits = {
  /** Objects and arrays within one another. */
  readonly amfDepthMax: number;
  /** Values of one message, at every depth together. */
  readonly amfKeysMax: number;
  readonly amfStringBytesMax: number;
};

export type AmfErrorCode =
  'amf_truncated' | 'amf_type_unknown' | 'amf_too_deep' | 'amf_too_many_values' | 'amf_string_too_long';

/** Bytes that are not AMF0, or more of it than we take. */
export class AmfError extends Error {
  override readonly name = 'AmfError';
  readonly code: AmfErrorCode;

  constructor(code: AmfErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

const NUMBER = 0x00;
const BOOLEAN = 0x01;
const STRING = 0x02;
const OBJECT = 0x03;
const NULL = 0x05;
const UNDEFINED = 0x06;
const REFERENCE = 0x07;
const ECMA_ARRAY = 0x08;
const OBJECT_END = 0x09;
const STRICT_ARRAY = 0x0a;
const DATE = 0x0b;
const LONG_STRING = 0x0c;
const UNSUPPORTED = 0x0d;
const XML_DOCUMENT = 0x0f;
const TYPED_OBJECT = 0x10;

/**
 * Decodes all values of a message. Takes time and memory in proportion to `bytes` at most, whatever they say.
 *
 * @param bytes a whole message, and nothing else
 * @throws {AmfError} for anything malformed or over a limit
 * @spec AMF0 specification §2
 */
export function readAmf0(bytes: Uint8Array, limits: AmfLimits): AmfValue[] {
  const reader = new Amf0Reader(bytes, limits);
  const values: AmfValue[] = [];
  while (!reader.atEnd) values.push(reader.value(0));
  return values;
}

class Amf0Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #limits: AmfLimits;
  #offset = 0;
  #valueCount = 0;

  constructor(bytes: Uint8Array, limits: AmfLimits) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#limits = limits;
  }

  get atEnd(): boolean {
    return this.#offset >= this.#bytes.length;
  }

  value(depth: number): AmfValue {
    if (++this.#valueCount > this.#limits.amfKeysMax)
      throw new AmfError('amf_too_many_values', `more than ${this.#limits.amfKeysMax} values`);
    const type = this.#view.getUint8(this.#take(1));
    switch (type) {
      case NUMBER:
        return this.#view.getFloat64(this.#take(8));
      case BOOLEAN:
        return this.#view.getUint8(this.#take(1)) !== 0;
      case STRING:
        return this.#text(this.#view.getUint16(this.#take(2)));
      case LONG_STRING:
      case XML_DOCUMENT:
        return this.#text(this.#view.getUint32(this.#take(4)));
      case NULL:
        return null;
      case UNDEFINED:
      case UNSUPPORTED:
        return undefined;
      case REFERENCE:
        // A reference repeats an object already sent; nothing an encoder sends us needs one.
        this.#take(2);
        return undefined;
      case DATE: {
        const at = this.#take(10);
        return this.#view.getFloat64(at);
      }
      case OBJECT:
        return this.#members(depth, false);
      case ECMA_ARRAY:
        // The count is a hint by the specification and wrong in practice: the end marker decides.
        this.#take(4);
        return this.#members(depth, true);
      case TYPED_OBJECT:
        this.#text(this.#view.getUint16(this.#take(2)));
        return this.#members(depth, false);
      case STRICT_ARRAY:
        return this.#elements(depth);
      default:
        throw new AmfError('amf_type_unknown', `type marker ${type}`);
    }
  }

  /** @param endOptional some encoders leave the end marker out when the message ends with an ECMA array */
  #members(depth: number, endOptional: boolean): AmfObject {
    this.#checkDepth(depth);
    const members = new Map<string, AmfValue>();
    for (;;) {
      if (endOptional && depth === 0 && this.atEnd) return members;
      const name = this.#text(this.#view.getUint16(this.#take(2)));
      if (this.#offset < this.#bytes.length && this.#bytes[this.#offset] === OBJECT_END && name === '') {
        this.#offset++;
        return members;
      }
      members.set(name, this.value(depth + 1));
    }
  }

  #elements(depth: number): AmfValue[] {
    this.#checkDepth(depth);
    const count = this.#view.getUint32(this.#take(4));
    if (count > this.#limits.amfKeysMax - this.#valueCount)
      throw new AmfError('amf_too_many_values', `strict array of ${count}`);
    const elements: AmfValue[] = [];
    for (let index = 0; index < count; index++) elements.push(this.value(depth + 1));
    return elements;
  }

  #checkDepth(depth: number): void {
    if (depth >= this.#limits.amfDepthMax)
      throw new AmfError('amf_too_deep', `nested deeper than ${this.#limits.amfDepthMax}`);
  }

  #text(length: number): string {
    if (length > this.#limits.amfStringBytesMax)
      throw new AmfError('amf_string_too_long', `string of ${length} bytes`);
    const start = this.#take(length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, length).toString('utf8');
  }

  /** Moves past `length` bytes and returns where they begin. */
  #take(length: number): number {
    const start = this.#offset;
    if (start + length > this.#bytes.length)
      throw new AmfError(
        'amf_truncated',
        `${length} bytes expected at ${start}, ${this.#bytes.length} in all`,
      );
    this.#offset = start + length;
    return start;
  }
}
