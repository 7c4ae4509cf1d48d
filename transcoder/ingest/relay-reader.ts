import { connect } from 'node:net';
import type { IngestPacket, PublishEnd } from './incoming-publish.ts';
import { encodeRelayFrame, RelayFrameDecoder, type RelayErrorCode } from './relay-frames.ts';

/** The packets of a publish cannot be read, or no further. */
export class RelayReadError extends Error {
  override readonly name = 'RelayReadError';
  readonly code: RelayErrorCode | 'relay_broken';

  constructor(code: RelayErrorCode | 'relay_broken', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Reads the packets of one publish from the ingest's relay. Reads no faster than it is asked.
 *
 * @returns why the publish ended, undefined when `signal` ended the reading
 * @throws {RelayReadError} `session_unknown`, `reader_too_slow`, `readers_exceeded`, or `relay_broken` when the
 *   connection ends before the publish
 */
export async function* readRelay(
  socketPath: string,
  sessionId: string,
  signal: AbortSignal,
): AsyncGenerator<IngestPacket, PublishEnd | undefined, undefined> {
  if (signal.aborted) return undefined;
  const socket = connect(socketPath);
  const abort = (): void => void socket.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    socket.write(encodeRelayFrame({ type: 'subscribe', sessionId }));
    const decoder = new RelayFrameDecoder();
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      for (const frame of decoder.push(chunk)) {
        if (signal.aborted) return undefined;
        if (frame.type === 'packet') yield frame.packet;
        else if (frame.type === 'end') return frame.reason;
        else if (frame.type === 'error')
          throw new RelayReadError(frame.code, `the ingest stopped the reading: ${frame.code}`);
        else throw new RelayReadError('relay_broken', 'the ingest sent a request');
      }
    }
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof RelayReadError) throw error;
    throw new RelayReadError('relay_broken', 'the connection to the ingest broke', { cause: error });
  } finally {
    signal.removeEventListener('abort', abort);
    socket.destroy();
  }
  if (signal.aborted) return undefined;
  throw new RelayReadError('relay_broken', 'the connection to the ingest ended before the publish');
}
