import { CmafError } from '#protocol/cmaf/cmaf-error.ts';

/** Reads fields of bits, most significant first. @throws {CmafError} `box_content_invalid` past the end */
export class BitReader {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bits not read yet. */
  get bitsLeft(): number {
    return this.#bytes.length * 8 - this.#position;
  }

  /** One bit as a number. */
  bit(): number {
    const byte = this.#bytes[this.#position >> 3];
    if (byte === undefined) throw new CmafError('box_content_invalid', 'the bits of a field are missing');
    const value = (byte >> (7 - (this.#position & 7))) & 1;
    this.#position += 1;
    return value;
  }

  /** An unsigned number of `count` bits, at most 32. */
  bits(count: number): number {
    let value = 0;
    for (let index = 0; index < count; index++) value = value * 2 + this.bit();
    return value;
  }

  flag(): boolean {
    return this.bit() === 1;
  }

  /** Unsigned Exp-Golomb. @spec ITU-T H.264 §9.1 */
  ue(): number {
    let zeros = 0;
    while (this.bit() === 0) {
      zeros += 1;
      if (zeros > 32) throw new CmafError('box_content_invalid', 'an Exp-Golomb code is too long');
    }
    return 2 ** zeros - 1 + this.bits(zeros);
  }

  /** Signed Exp-Golomb. @spec ITU-T H.264 §9.1.1 */
  se(): number {
    const code = this.ue();
    return code % 2 === 1 ? (code + 1) / 2 : -code / 2;
  }
}
