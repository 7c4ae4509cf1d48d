/** What can be wrong with ISO base media boxes. */
export type CmafErrorCode =
  /** A size that cannot be: smaller than its header, larger than its parent or than the limit. */
  | 'box_size_invalid'
  /** A box where the format does not allow one, or a type that is not four printable characters. */
  | 'box_unexpected'
  /** A box that must be there is not. */
  | 'box_missing'
  /** The fields of a box contradict each other or are not supported. */
  | 'box_content_invalid';

/** Bytes that are not the fragmented MP4 they should be. */
export class CmafError extends Error {
  readonly code: CmafErrorCode;
  override readonly name = 'CmafError';

  constructor(code: CmafErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
