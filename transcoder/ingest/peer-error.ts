/** A peer that speaks RTMP but does what it must not. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  readonly code: 'command_out_of_order' | 'commands_exceeded' | 'pending_bytes_exceeded';

  constructor(code: ConnectionError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const PEER_ERROR_NAMES = new Set([
  'ConnectionError',
  'RtmpError',
  'AmfError',
  'FlvBodyError',
  'SequenceHeaderError',
  'SequencerError',
]);

/**
 * The code of an error that says what a peer did wrong; undefined for any other, which is then a mistake of ours and not
 * of the peer.
 */
export function peerErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !PEER_ERROR_NAMES.has(error.name) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
