import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** A key together with what the registry stores of it. */
export type StreamKey = {
  /** Shown once, to the one who made it. */
  readonly streamKey: string;
  /** Names the key in the registry and the audit; says nothing about the key. */
  readonly keyId: string;
  readonly digest: Buffer;
};

const SECRET_BYTES = 32;
const NAME_CHARACTERS = 12;
const GENERATED = new RegExp(`^live_([a-z2-7]{${NAME_CHARACTERS}})_[A-Za-z0-9_-]{43}$`);
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** Twelve random letters and digits (60 bits), for ids that people read and shells take without quotes. */
export function randomName(): string {
  return Array.from(randomBytes(NAME_CHARACTERS), (byte) => BASE32[byte % BASE32.length]).join('');
}

/**
 * Makes and recognises stream keys. A key that we make is `live_<key id>_<256 random bits>`; a key may also be chosen by
 * the stream's owner. Both are stored as an HMAC under a pepper that is not in the database: 256 random bits need no
 * slow hash, and a chosen key is out of reach for whoever has the database alone.
 */
export class StreamKeys {
  readonly #pepper: Buffer;

  /** @param pepper secret of 32 bytes or more; with another one no stored key is ever recognised */
  constructor(pepper: Buffer) {
    this.#pepper = pepper;
  }

  generate(): StreamKey {
    const keyId = randomName();
    const streamKey = `live_${keyId}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
    return { streamKey, keyId, digest: this.#digest(streamKey) };
  }

  /** The same chosen key has the same id every time, which is how it is found and how a second owner is noticed. */
  choose(streamKey: string): StreamKey {
    return { streamKey, keyId: this.#chosenId(streamKey), digest: this.#digest(streamKey) };
  }

  /** The ids under which a presented key may be stored. */
  possibleIds(streamKey: string): string[] {
    const generated = GENERATED.exec(streamKey)?.[1];
    return [...(generated === undefined ? [] : [generated]), this.#chosenId(streamKey)];
  }

  /** Whether `digest` was made of `streamKey`; takes the same time either way. */
  matches(digest: Uint8Array, streamKey: string): boolean {
    const expected = this.#digest(streamKey);
    return digest.length === expected.length && timingSafeEqual(digest, expected);
  }

  #chosenId(streamKey: string): string {
    return `chosen-${this.#hmac('id', streamKey).toString('hex').slice(0, 32)}`;
  }

  #digest(streamKey: string): Buffer {
    return this.#hmac('key', streamKey);
  }

  #hmac(purpose: 'id' | 'key', streamKey: string): Buffer {
    return createHmac('sha256', this.#pepper).update(`${purpose}\0${streamKey}`).digest();
  }
}
