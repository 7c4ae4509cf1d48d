import { ConnectionError } from './peer-error.ts';

/** What a publisher has sent while nobody knew yet whether it may. */
export class HeldMessages {
  readonly #byteCountMax: number;
  #passOn: (() => void)[] = [];
  #byteCount = 0;

  constructor(byteCountMax: number) {
    this.#byteCountMax = byteCountMax;
  }

  /**
   * Keeps one for later.
   *
   * @throws {ConnectionError} `pending_bytes_exceeded`
   */
  hold(byteCount: number, passOn: () => void): void {
    this.#byteCount += byteCount;
    if (this.#byteCount > this.#byteCountMax)
      throw new ConnectionError('pending_bytes_exceeded', 'too much media before the publish was accepted');
    this.#passOn.push(passOn);
  }

  /** Passes all on, in order, and is empty again. */
  release(): void {
    const passOn = this.#passOn;
    this.clear();
    for (const pass of passOn) pass();
  }

  /** Throws all away. */
  clear(): void {
    this.#passOn = [];
    this.#byteCount = 0;
  }
}
