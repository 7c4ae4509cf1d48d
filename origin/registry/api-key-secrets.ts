import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { randomName } from '#origin/registry/stream-keys.ts';

/** A key of the API together with what the registry stores of it. */
export type ApiKeySecret = {
  /** Shown once, to the one who made it. */
  readonly key: string;
  /** Names the key in the registry and the audit; says nothing about the key. */
  readonly id: string;
  readonly digest: Buffer;
};

const SECRET_BYTES = 32;
const CHECK_CHARACTERS = 8;
const API_KEY = new RegExp(`^lha_([a-z2-7]{12})_([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{${CHECK_CHARACTERS}})$`);

/**
 * Makes and recognises keys of the API: `lha_<id>_<256 random bits><48 bits of an HMAC over both>`. The check under the
 * pepper lets a made-up key be refused without asking the database.
 */
export class ApiKeySecrets {
  readonly #pepper: Buffer;

  /** @param pepper secret of 32 bytes or more; with another one no stored key is ever recognised */
  constructor(pepper: Buffer) {
    this.#pepper = pepper;
  }

  generate(): ApiKeySecret {
    const id = randomName();
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const key = `lha_${id}_${secret}${this.#check(id, secret)}`;
    return { key, id, digest: this.#digest(key) };
  }

  /** The id and digest of a presented key; undefined for what was never made here. */
  read(presented: string): Pick<ApiKeySecret, 'id' | 'digest'> | undefined {
    const [, id = '', secret = '', check = ''] = API_KEY.exec(presented) ?? [];
    if (id === '' || !timingSafeEqual(Buffer.from(check), Buffer.from(this.#check(id, secret))))
      return undefined;
    return { id, digest: this.#digest(presented) };
  }

  #check(id: string, secret: string): string {
    return this.#hmac('api key check', `${id}\0${secret}`).toString('base64url').slice(0, CHECK_CHARACTERS);
  }

  #digest(key: string): Buffer {
    return this.#hmac('api key', key);
  }

  #hmac(purpose: string, text: string): Buffer {
    return createHmac('sha256', this.#pepper).update(`${purpose}\0${text}`).digest();
  }
}
