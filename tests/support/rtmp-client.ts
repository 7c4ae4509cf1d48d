import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { amfEcmaArray, amfValue, readAmfValues, type AmfPlain } from './rtmp-amf.ts';
import { waitFor } from './wait-for.ts';

/** One message, and how it is to be cut into chunks. */
export type RtmpMessage = {
  readonly type: number;
  readonly payload: Uint8Array;
  readonly timestampMs?: number;
  readonly chunkStreamId?: number;
  readonly streamId?: number;
  /** What the header claims instead of the payload's real length. */
  readonly claimedLength?: number;
  readonly chunkSize?: number;
};

/** A command or status that the server has sent: its name, transaction id and values. */
export type RtmpAnswer = { readonly name: string; readonly values: readonly AmfPlain[] };

export const RTMP_TYPE = { setChunkSize: 1, audio: 8, video: 9, data: 18, command: 20 } as const;

const POLL = { intervalMs: 5 };
const HANDSHAKE_BYTES = 1_536;
const CHUNK_SIZE_DEFAULT = 128;

/**
 * A raw RTMP client for tests: does what an encoder does step by step, and anything an encoder must not do. Written apart
 * from the server's code.
 */
export class RtmpClient {
  readonly socket: Socket;
  /** Commands received so far. */
  readonly answers: RtmpAnswer[] = [];
  /** Chunk size that messages are cut by; telling the server is a message of its own. */
  chunkSize = CHUNK_SIZE_DEFAULT;
  #received = Buffer.alloc(0);
  #isHandshakeDone = false;
  #isClosed = false;
  #serverChunkSize = CHUNK_SIZE_DEFAULT;
  readonly #partial = new Map<
    number,
    { type: number; length: number; pieces: Buffer[]; byteCount: number }
  >();
  #transactionId = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => this.#onData(bytes));
    socket.on('error', () => {});
    socket.on('close', () => (this.#isClosed = true));
  }

  /** Opens the TCP connection and nothing more. */
  static async open(port: number, localAddress?: string): Promise<RtmpClient> {
    const socket = connect({
      port,
      host: '127.0.0.1',
      ...(localAddress === undefined ? {} : { localAddress }),
    });
    const client = new RtmpClient(socket);
    await waitFor('the TCP connection', () => !socket.connecting || client.#isClosed, POLL);
    return client;
  }

  /** Opens, shakes hands, and sends connect; resolves when the server has answered. */
  static async connected(port: number, app = 'live'): Promise<RtmpClient> {
    const client = await RtmpClient.open(port);
    await client.shakeHands();
    client.command('connect', { app, tcUrl: `rtmp://127.0.0.1:${port}/${app}`, flashVer: 'test' });
    await client.answer('_result');
    return client;
  }

  /** Everything up to the server's answer to publish. */
  static async published(port: number, streamKey: string, app = 'live'): Promise<RtmpClient> {
    const client = await RtmpClient.connected(port, app);
    await client.requestPublish(streamKey);
    const status = await client.status();
    if (status !== 'NetStream.Publish.Start') throw new Error(`publish was answered with ${status}`);
    return client;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async closed(deadlineMs = 5_000): Promise<void> {
    await waitFor('the server to close the connection', () => this.#isClosed, { ...POLL, deadlineMs });
  }

  send(bytes: Uint8Array): void {
    if (!this.#isClosed) this.socket.write(bytes);
  }

  async shakeHands(): Promise<void> {
    this.send(Buffer.concat([Buffer.from([3]), Buffer.alloc(8), randomBytes(HANDSHAKE_BYTES - 8)]));
    await waitFor('the handshake answer', () => this.#isHandshakeDone || this.#isClosed, POLL);
    this.send(Buffer.alloc(HANDSHAKE_BYTES));
  }

  /** Sends createStream and publish. */
  async requestPublish(streamKey: string): Promise<void> {
    this.command('releaseStream', null, streamKey);
    this.command('FCPublish', null, streamKey);
    this.command('createStream', null);
    const hasStream = (): boolean => this.answers.filter(({ name }) => name === '_result').length >= 2;
    await waitFor('the stream id', hasStream, POLL);
    this.command('publish', null, streamKey, 'live');
  }

  command(name: string, ...values: readonly AmfPlain[]): void {
    const head = [amfValue(name), amfValue(++this.#transactionId)];
    const payload = Buffer.concat([...head, ...values.map(amfValue)]);
    this.message({
      type: RTMP_TYPE.command,
      payload,
      streamId: name === 'publish' ? 1 : 0,
      chunkStreamId: 3,
    });
  }

  metadata(values: { readonly [name: string]: AmfPlain }): void {
    const payload = Buffer.concat([amfValue('@setDataFrame'), amfValue('onMetaData'), amfEcmaArray(values)]);
    this.message({ type: RTMP_TYPE.data, payload, streamId: 1, chunkStreamId: 4 });
  }

  video(timestampMs: number, body: Uint8Array): void {
    this.message({ type: RTMP_TYPE.video, payload: body, timestampMs, streamId: 1, chunkStreamId: 6 });
  }

  audio(timestampMs: number, body: Uint8Array): void {
    this.message({ type: RTMP_TYPE.audio, payload: body, timestampMs, streamId: 1, chunkStreamId: 5 });
  }

  /** Tells the server a chunk size and uses it from now on. */
  setChunkSize(size: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(size, 0);
    this.message({ type: RTMP_TYPE.setChunkSize, payload, chunkStreamId: 2 });
    this.chunkSize = size;
  }

  message(message: RtmpMessage): void {
    this.send(chunksOf({ chunkSize: this.chunkSize, ...message }));
  }

  /** The next command of this name that has come or will come. */
  async answer(name: string, deadlineMs = 5_000): Promise<RtmpAnswer> {
    const find = (): RtmpAnswer | undefined => this.answers.find((answer) => answer.name === name);
    return waitFor(`the answer ${name}`, find, { ...POLL, deadlineMs });
  }

  /** The code of the latest onStatus, as soon as there is one. */
  async status(deadlineMs = 8_000): Promise<string> {
    await this.answer('onStatus', deadlineMs);
    const latest = this.answers.findLast(({ name }) => name === 'onStatus');
    const info = latest?.values[1];
    const code = typeof info === 'object' && info !== null ? info['code'] : undefined;
    return typeof code === 'string' ? code : '';
  }

  /** Ends as a broken line does. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  close(): void {
    this.socket.destroy();
  }

  #onData(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    if (!this.#isHandshakeDone) {
      if (this.#received.length < 1 + 2 * HANDSHAKE_BYTES) return;
      this.#received = this.#received.subarray(1 + 2 * HANDSHAKE_BYTES);
      this.#isHandshakeDone = true;
    }
    while (this.#readChunk());
  }

  /** Reads one chunk of the forms that a server sends: full headers and continuations. */
  #readChunk(): boolean {
    const first = this.#received[0];
    if (first === undefined) return false;
    const id = first & 0x3f;
    const isFull = first >> 6 === 0;
    const headerBytes = isFull ? 12 : 1;
    if (this.#received.length < headerBytes) return false;
    const partial = isFull
      ? {
          type: this.#received[7] ?? 0,
          length: this.#received.readUIntBE(4, 3),
          pieces: [] as Buffer[],
          byteCount: 0,
        }
      : this.#partial.get(id);
    if (partial === undefined) throw new Error('the server continued a message that it had not begun');
    const size = Math.min(this.#serverChunkSize, partial.length - partial.byteCount);
    if (this.#received.length < headerBytes + size) return false;
    partial.pieces.push(this.#received.subarray(headerBytes, headerBytes + size));
    partial.byteCount += size;
    this.#received = this.#received.subarray(headerBytes + size);
    this.#partial.set(id, partial);
    if (partial.byteCount === partial.length) this.#onMessage(partial.type, Buffer.concat(partial.pieces));
    return true;
  }

  #onMessage(type: number, payload: Buffer): void {
    if (type === RTMP_TYPE.setChunkSize) this.#serverChunkSize = payload.readUInt32BE(0);
    if (type !== RTMP_TYPE.command) return;
    const [name, , ...values] = readAmfValues(payload);
    this.answers.push({ name: typeof name === 'string' ? name : '', values });
  }
}

/** A message as chunks: a full header, then continuations. @spec RTMP 1.0 §5.3.1 */
export function chunksOf(message: RtmpMessage): Buffer {
  const { type, payload, timestampMs = 0, chunkStreamId = 3, streamId = 0 } = message;
  const { claimedLength = payload.length, chunkSize = CHUNK_SIZE_DEFAULT } = message;
  const isExtended = timestampMs >= 0xffffff;
  const extended = Buffer.alloc(isExtended ? 4 : 0);
  if (isExtended) extended.writeUInt32BE(timestampMs, 0);
  const header = Buffer.alloc(11);
  header.writeUIntBE(isExtended ? 0xffffff : timestampMs, 0, 3);
  header.writeUIntBE(claimedLength, 3, 3);
  header.writeUInt8(type, 6);
  header.writeUInt32LE(streamId, 7);
  const pieces = [basicHeader(0, chunkStreamId), header, extended];
  for (let offset = 0; offset < payload.length; offset += chunkSize) {
    if (offset > 0) pieces.push(basicHeader(3, chunkStreamId), extended);
    pieces.push(Buffer.from(payload.subarray(offset, offset + chunkSize)));
  }
  return Buffer.concat(pieces);
}

function basicHeader(format: number, chunkStreamId: number): Buffer {
  if (chunkStreamId < 64) return Buffer.from([(format << 6) | chunkStreamId]);
  if (chunkStreamId < 320) return Buffer.from([format << 6, chunkStreamId - 64]);
  return Buffer.from([(format << 6) | 1, (chunkStreamId - 64) & 0xff, (chunkStreamId - 64) >> 8]);
}
