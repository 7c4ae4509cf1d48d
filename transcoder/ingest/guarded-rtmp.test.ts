import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { amfEcmaArray, amfValue } from '#tests/support/rtmp-amf.ts';
import { chunksOf, type RtmpMessage } from '#tests/support/rtmp-client.ts';
import { GuardedRtmp, RtmpError } from './guarded-rtmp.ts';
import { DEFAULT_INGEST_LIMITS, type IngestLimits } from './ingest-settings.ts';
import { peerErrorCode } from './peer-error.ts';

const HANDSHAKE = Buffer.concat([Buffer.from([3]), Buffer.alloc(2 * 1_536, 7)]);
const number32 = (value: number): Buffer =>
  Buffer.from([value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255]);
const setChunkSize = (size: number): RtmpMessage => ({ type: 1, payload: number32(size), chunkStreamId: 2 });
const commandPayload = Buffer.concat([amfValue('createStream'), amfValue(4), amfValue(null)]);
const command: RtmpMessage = { type: 20, payload: commandPayload };

/** A guarded protocol that writes down what reaches the connection. */
function peer(mayReceiveMedia = true, change: Partial<IngestLimits> = {}) {
  const seen: string[] = [];
  const rtmp = new GuardedRtmp(
    { ...DEFAULT_INGEST_LIMITS, ...change },
    {
      mayReceiveMedia: () => mayReceiveMedia,
      onHandshakeDone: () => seen.push('handshake'),
      onCommand: ({ name, transactionId, streamId }) => seen.push(`${name} ${transactionId} on ${streamId}`),
      onMedia: (track, timestampMs, payload) =>
        seen.push(
          `${track} ${timestampMs} ${payload.length > 8 ? payload.length : Buffer.from(payload).toString('hex')}`,
        ),
      onData: (values) => seen.push(`data ${values.length}`),
      onIgnored: (kind) => seen.push(`ignored ${kind}`),
    },
  );
  return {
    rtmp,
    seen,
    /** Takes messages, or bytes as they are, after a handshake. */
    receive: (...parts: (RtmpMessage | Buffer)[]): string[] => {
      if (rtmp.handshakeState === 0) rtmp.parserData(HANDSHAKE);
      for (const part of parts) rtmp.parserData(Buffer.isBuffer(part) ? part : chunksOf(part));
      return seen.filter((name) => name !== 'handshake');
    },
  };
}

describe('RTMP §5.2 handshake', () => {
  it('is announced once, whether or not the first chunk comes with its last byte', () => {
    const apart = peer();
    apart.rtmp.parserData(HANDSHAKE.subarray(0, 2_000));
    expect(apart.seen).toEqual([]);
    apart.rtmp.parserData(HANDSHAKE.subarray(2_000));
    apart.receive(command);
    expect(apart.seen).toEqual(['handshake', 'createStream 4 on 0']);
    const together = peer();
    together.rtmp.parserData(Buffer.concat([HANDSHAKE, chunksOf(command)]));
    expect(together.seen).toEqual(['handshake', 'createStream 4 on 0']);
  });

  it.each([
    ['HTTP', 'GET / HTTP/1.1\r\n'],
    ['TLS', '\u0016\u0003\u0001'],
    ['another version', '\u0006'],
  ])('refuses %s at its first byte', (_name, text) => {
    expect(() => peer().rtmp.parserData(Buffer.from(text, 'latin1'))).toThrow(
      expect.objectContaining({ code: 'handshake_invalid' }),
    );
  });
});

describe('RTMP §5.3 chunks', () => {
  it('are messages again, whatever their size and however interleaved', () => {
    const { receive } = peer();
    const long = chunksOf({ type: 9, payload: Buffer.alloc(300, 1), chunkStreamId: 6 });
    const [first, rest] = [long.subarray(0, 12 + 128), long.subarray(12 + 128)];
    expect(
      receive(
        first,
        { type: 8, payload: Buffer.from('af01', 'hex'), chunkStreamId: 5, timestampMs: 7 },
        rest,
      ),
    ).toEqual(['audio 7 af01', 'video 0 300']);
  });

  it('keep apart chunk streams whose ids take three bytes', () => {
    const { receive } = peer();
    const [a, b] = [64 + 2 + 256, 64 + 1 + 2 * 256].map((chunkStreamId) =>
      chunksOf({ type: 9, payload: Buffer.alloc(200, 1), chunkStreamId }),
    );
    const cut = 14 + 128;
    expect(receive(a!.subarray(0, cut), b!.subarray(0, cut), a!.subarray(cut), b!.subarray(cut))).toEqual([
      'video 0 200',
      'video 0 200',
    ]);
  });

  it('count time on by deltas, over the end of 32 bits', () => {
    const { receive } = peer();
    const full = chunksOf({
      type: 8,
      payload: Buffer.from([1]),
      chunkStreamId: 5,
      timestampMs: 2 ** 32 - 10,
    });
    const delta20 = Buffer.from([0x40 | 5, 0, 0, 20, 0, 0, 1, 8, 2]);
    const sameAgain = Buffer.from([0xc0 | 5, 3]);
    expect(receive(full, delta20, sameAgain)).toEqual(['audio 4294967286 01', 'audio 10 02', 'audio 30 03']);
  });

  it('carry extended timestamps in every chunk', () => {
    const { receive } = peer();
    const message = { type: 9, payload: Buffer.alloc(400, 1), timestampMs: 0x01000000 };
    expect(receive(message)).toEqual(['video 16777216 400']);
  });

  it('are thrown away when their message is aborted', () => {
    const { receive } = peer();
    const long = chunksOf({ type: 9, payload: Buffer.alloc(300, 1), chunkStreamId: 6 });
    const abort = { type: 2, payload: number32(6), chunkStreamId: 2 };
    const next = { type: 9, payload: Buffer.from('1701', 'hex'), chunkStreamId: 6, timestampMs: 9 };
    expect(receive(long.subarray(0, 12 + 128), abort, next)).toEqual(['video 9 1701']);
  });

  it('may repeat the header of their message', () => {
    const { receive } = peer();
    const long = chunksOf({ type: 9, payload: Buffer.alloc(200, 1), chunkStreamId: 6 });
    const repeated = Buffer.concat([long.subarray(0, 12 + 128), long.subarray(0, 12), Buffer.alloc(72, 1)]);
    expect(receive(repeated)).toEqual(['video 0 200']);
  });
});

describe('RTMP §5.4 control messages', () => {
  it('change the chunk size within the limits', () => {
    const { receive } = peer();
    const big = { type: 9, payload: Buffer.alloc(5_000, 1), chunkSize: 4_096 };
    expect(receive(setChunkSize(4_096), big)).toEqual(['video 0 5000']);
  });

  it('say when to acknowledge', () => {
    const { rtmp, receive } = peer();
    receive({ type: 5, payload: number32(2_500_000), chunkStreamId: 2 });
    expect(rtmp.ackSize).toBe(2_500_000);
  });

  it.each([
    ['acknowledgements', 3, 'ignored control'],
    ['pings', 4, 'ignored control'],
    ['shared objects', 19, 'ignored unknown_type'],
    ['aggregates', 22, 'ignored unknown_type'],
  ])('and other messages without meaning here are ignored: %s', (_name, type, expected) => {
    expect(peer().receive({ type, payload: number32(0), chunkStreamId: 2 })).toEqual([expected]);
  });
});

describe('RTMP §7.1 commands and data', () => {
  it('are read from AMF0, also behind the marker of AMF3', () => {
    const behindMarker = Buffer.concat([Buffer.from([0]), commandPayload]);
    const metadata = Buffer.concat([
      amfValue('@setDataFrame'),
      amfValue('onMetaData'),
      amfEcmaArray({ width: 1 }),
    ]);
    expect(
      peer().receive(
        { ...command, streamId: 1 },
        { type: 17, payload: behindMarker },
        { type: 18, payload: metadata },
        { type: 15, payload: Buffer.concat([Buffer.from([0]), metadata]) },
      ),
    ).toEqual(['createStream 4 on 1', 'createStream 4 on 0', 'data 3', 'data 3']);
  });

  it('without a number get transaction 0', () => {
    const payload = Buffer.concat([amfValue('connect'), amfValue('x')]);
    expect(peer().receive({ type: 20, payload })).toEqual(['connect 0 on 0']);
  });
});

describe('what costs a peer its connection', () => {
  /** The first chunk of a message that claims to be longer. */
  const media = (claimedLength: number, chunkStreamId = 6): RtmpMessage => ({
    type: 9,
    payload: Buffer.alloc(128, 1),
    claimedLength,
    chunkStreamId,
  });
  const bomb = Array.from({ length: 40 }, (_, index) => media(64 * 1024, 3 + index));
  const cases: [name: string, parts: (RtmpMessage | Buffer)[], code: string][] = [
    ['chunk size 0', [setChunkSize(0)], 'chunk_size_invalid'],
    ['chunk size 127', [setChunkSize(127)], 'chunk_size_invalid'],
    ['chunk size over 1 MiB', [setChunkSize(1024 * 1024 + 1)], 'chunk_size_invalid'],
    ['chunk size 4 GiB', [setChunkSize(0xffffffff)], 'chunk_size_invalid'],
    ['set-chunk-size without a size', [{ type: 1, payload: Buffer.alloc(0) }, command], 'message_too_short'],
    ['set-chunk-size of two bytes', [{ type: 1, payload: Buffer.alloc(2) }], 'message_too_short'],
    ['abort without a chunk stream', [{ type: 2, payload: Buffer.alloc(3) }], 'message_too_short'],
    ['window size cut short', [{ type: 5, payload: Buffer.alloc(1) }], 'message_too_short'],
    ['a chunk size that changes within a message', [media(300), setChunkSize(4_096)], 'chunk_size_invalid'],
    ['video of 4 MiB and a byte', [media(4 * 1024 * 1024 + 1)], 'message_too_long'],
    ['video of 16 MiB', [media(0xffffff)], 'message_too_long'],
    ['a command of 64 KiB and a byte', [{ ...media(64 * 1024 + 1), type: 20 }], 'message_too_long'],
    ['an unknown message of 16 MiB', [{ ...media(0xffffff), type: 99 }], 'message_too_long'],
    ['a 17th chunk stream', bomb, 'chunk_streams_exceeded'],
    ['three times 4 MiB begun', [3, 4, 5].map((id) => media(4 * 1024 * 1024, id)), 'pending_bytes_exceeded'],
    ['a chunk stream that begins in its middle', [Buffer.from([0xc0 | 7, 1, 2])], 'chunk_header_invalid'],
    ['a chunk stream that begins with a delta', [Buffer.from([0x80 | 7, 0, 0, 1])], 'chunk_header_invalid'],
    ['a message that changes its length', [media(200), media(4_000_000)], 'chunk_header_invalid'],
    ['a command without a name', [{ type: 20, payload: amfValue(1) }], 'command_invalid'],
    ['a command without anything', [{ type: 20, payload: Buffer.alloc(0) }, command], 'command_invalid'],
    ['AMF of an unknown type', [{ type: 20, payload: Buffer.from([0xff]) }], 'amf_type_unknown'],
    ['an AMF number cut short', [{ type: 20, payload: Buffer.from([0, 1, 2]) }], 'amf_truncated'],
    ['metadata of an unknown type', [{ type: 18, payload: Buffer.from([0x20]) }], 'amf_type_unknown'],
    [
      'AMF nested 10,000 deep',
      [{ type: 20, payload: Buffer.from('0a00000001'.repeat(10_000), 'hex') }],
      'amf_too_deep',
    ],
  ];
  it.each(cases)('%s', (_name, parts, code) => {
    const { receive } = peer(true);
    let thrown: unknown;
    try {
      receive(...parts);
    } catch (error) {
      thrown = error;
    }
    expect(peerErrorCode(thrown)).toBe(code);
  });

  it('audio or video before a publish, at the header', () => {
    expect(() => peer(false).receive(media(100))).toThrow(
      expect.objectContaining({ code: 'media_before_publish' }),
    );
  });

  it('more begun before a publish than commands need', () => {
    const parts = [3, 4, 5, 6].map((chunkStreamId) => ({ ...media(64 * 1024, chunkStreamId), type: 20 }));
    expect(() => peer(false).receive(...parts)).toThrow(
      expect.objectContaining({ code: 'pending_bytes_exceeded' }),
    );
  });

  it('and takes no memory for it before', () => {
    const { rtmp, receive } = peer();
    expect(() => receive(media(0xffffff))).toThrow(RtmpError);
    expect(rtmp.claimedBytes).toBe(0);
  });
});

describe('a session with mutated bytes', () => {
  const session = Buffer.concat([
    chunksOf({
      type: 20,
      payload: Buffer.concat([
        amfValue('connect'),
        amfValue(1),
        amfValue({ app: 'live', tcUrl: 'rtmp://h/live' }),
      ]),
    }),
    chunksOf(setChunkSize(4_096)),
    chunksOf({ ...command, chunkSize: 4_096 }),
    chunksOf({
      type: 20,
      payload: Buffer.concat([amfValue('publish'), amfValue(5), amfValue(null), amfValue('key')]),
      streamId: 1,
    }),
    chunksOf({
      type: 18,
      payload: Buffer.concat([
        amfValue('@setDataFrame'),
        amfValue('onMetaData'),
        amfEcmaArray({ width: 640, encoder: 'x' }),
      ]),
      chunkStreamId: 4,
    }),
    chunksOf({ type: 9, payload: Buffer.from('17000000000142c01e', 'hex'), chunkStreamId: 6 }),
    chunksOf({
      type: 9,
      payload: Buffer.alloc(9_000, 0x27),
      chunkStreamId: 6,
      timestampMs: 0x1000000,
      chunkSize: 4_096,
    }),
    chunksOf({ type: 8, payload: Buffer.from('af0121', 'hex'), chunkStreamId: 5, timestampMs: 33 }),
  ]);

  it('ends with an error that names what the peer did, or does no harm', () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    const outcomes = new Map<string, number>();
    const change = fc.tuple(fc.nat(session.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 6 }),
        fc.integer({ min: 1, max: 600 }),
        fc.boolean(),
        (changes, size, mayReceiveMedia) => {
          const bytes = Buffer.from(session);
          for (const [at, value] of changes) bytes[at] = value;
          const { rtmp } = peer(mayReceiveMedia);
          rtmp.parserData(HANDSHAKE);
          let outcome = 'taken';
          try {
            for (let offset = 0; offset < bytes.length; offset += size)
              rtmp.parserData(bytes.subarray(offset, offset + size));
          } catch (error) {
            outcome = peerErrorCode(error) ?? `unexpected ${String(error)}`;
          }
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          return (
            !outcome.startsWith('unexpected') && rtmp.claimedBytes <= DEFAULT_INGEST_LIMITS.pendingBytesMax
          );
        },
      ),
      { seed, numRuns: 4_000 },
    );
    expect(outcomes.get('taken'), `seed ${seed}`).toBeGreaterThan(0);
    expect(outcomes.size, `seed ${seed}`).toBeGreaterThan(5);
  });
});
