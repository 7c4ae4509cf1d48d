import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { FLV_SAMPLES } from '#tests/support/flv-samples.ts';
import type { IngestPacket } from './incoming-publish.ts';
import { DEFAULT_INGEST_LIMITS } from './ingest-settings.ts';
import { PacketSequencer, type DropReason, type StreamHeaders } from './packet-sequencer.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const {
  videoHeader: VIDEO_HEADER,
  otherVideoHeader: OTHER_VIDEO_HEADER,
  audioHeader: AUDIO_HEADER,
  otherAudioHeader: OTHER_AUDIO_HEADER,
  keyFrame: KEY,
  interFrame: INTER,
  sound: SOUND,
} = FLV_SAMPLES;
const ARRIVAL = 1_700_000_000_000;

/** What came out, short: `V` video, `A` audio, `H` header, `K` key frame, the time; `*` where a reader may begin. */
const brief = (packet: IngestPacket, mayBegin: boolean): string => {
  const star = mayBegin ? '*' : '';
  if (packet.kind === 'metadata') return `meta${star}`;
  if (packet.kind === 'break') return `break:${packet.reason}${star}`;
  const letter = packet.kind === 'video' ? 'V' : 'A';
  if (packet.sequenceHeader) return `${letter}H${packet.dtsMs}${star}`;
  return `${letter}${packet.kind === 'video' && packet.keyframe ? 'K' : ''}${packet.dtsMs}${star}`;
};

describe('the packets of a publisher', () => {
  let clock: FakeClock;
  let out: string[];
  let packets: IngestPacket[];
  let preludes: string[][];
  let drops: DropReason[];
  let clamped: number;
  let sequencer: PacketSequencer;

  const create = (headers?: StreamHeaders): PacketSequencer =>
    new PacketSequencer(
      DEFAULT_INGEST_LIMITS,
      clock,
      {
        onPacket: (packet, prelude) => {
          packets.push(packet);
          out.push(brief(packet, prelude !== undefined));
          if (prelude !== undefined) preludes.push(prelude.map((header) => brief(header, false)));
        },
        onDropped: (reason) => drops.push(reason),
        onClamped: () => clamped++,
      },
      headers,
    );
  const video = (timestampMs: number, body: Buffer): void =>
    sequencer.media('video', timestampMs, body, ARRIVAL + timestampMs);
  const audio = (timestampMs: number, body: Buffer): void =>
    sequencer.media('audio', timestampMs, body, ARRIVAL + timestampMs);
  const begin = (): void => {
    sequencer.setMetadata({ videocodecid: 7, audiocodecid: 10 });
    video(0, VIDEO_HEADER);
    audio(0, AUDIO_HEADER);
  };

  beforeEach(() => {
    clock = new FakeClock();
    out = [];
    packets = [];
    preludes = [];
    drops = [];
    clamped = 0;
    sequencer = create();
  });

  it('begin with metadata, headers and the first key frame at 0', () => {
    begin();
    audio(5_000, SOUND);
    video(5_000, INTER);
    video(5_040, KEY);
    audio(5_021, SOUND);
    audio(5_042, SOUND);
    video(5_080, INTER);
    expect(out).toEqual(['meta', 'VH0', 'AH0', 'VK0*', 'A2', 'V40']);
    expect(drops).toEqual(['before_keyframe', 'before_keyframe', 'early']);
    expect(packets[3]).toMatchObject({ arrivalUtcMs: ARRIVAL + 5_040, flvBody: KEY, compositionOffsetMs: 0 });
  });

  it('let a reader begin at every key frame with what it has to know', () => {
    begin();
    video(0, KEY);
    video(2_000 - 1_000, INTER);
    video(2_000, KEY);
    expect(out.filter((name) => name.endsWith('*'))).toEqual(['VK0*', 'VK2000*']);
    expect(preludes).toEqual([
      ['meta', 'VH0', 'AH0'],
      ['meta', 'VH2000', 'AH2000'],
    ]);
  });

  it('keep composition offsets', () => {
    begin();
    video(0, KEY);
    video(33, bytes('27 01 000042 41'));
    expect(packets.at(-1)).toMatchObject({ dtsMs: 33, compositionOffsetMs: 66 });
  });

  it('even out a small step back and count it', () => {
    begin();
    video(0, KEY);
    video(100, INTER);
    video(60, INTER);
    video(133, INTER);
    expect(out.slice(-3)).toEqual(['V100', 'V100', 'V133']);
    expect(clamped).toBe(1);
  });

  it.each([
    ['forward', 20_100],
    ['back', 10],
  ])('break when the timestamps jump %s, and begin anew at the next key frame', (_name, there) => {
    begin();
    video(10_000, KEY);
    video(10_033, INTER);
    video(there, INTER);
    audio(there + 5, SOUND);
    video(there + 33, KEY);
    audio(there + 40, SOUND);
    expect(out.slice(3)).toEqual(['VK0*', 'V33', 'break:timestamp_jump', 'meta', 'VH0', 'AH0', 'VK0*', 'A7']);
  });

  it('begin the new timeline at once when the jump is a key frame', () => {
    begin();
    video(0, KEY);
    video(5_000, KEY);
    expect(out.slice(3)).toEqual(['VK0*', 'break:timestamp_jump', 'meta', 'VH0', 'AH0', 'VK0*']);
  });

  it.each([
    ['ahead', 10_000],
    ['behind', -10_000],
  ])('move the sound to the picture when its clock alone jumps %s', (_name, jumpMs) => {
    begin();
    video(20_000, KEY);
    audio(20_010, SOUND);
    audio(20_030 + jumpMs, SOUND);
    video(20_033, INTER);
    video(22_000, KEY);
    audio(22_005 + jumpMs, SOUND);
    audio(22_026 + jumpMs, SOUND);
    video(22_033, INTER);
    expect(out.slice(-5)).toEqual(['AH0', 'VK0*', 'A0', 'A21', 'V33']);
    expect(out.filter((line) => line.startsWith('break'))).toHaveLength(1);
    expect(clamped).toBe(1);
  });

  it('keep the sound where it was moved to over a break, and forget it once the clocks agree', () => {
    begin();
    video(0, KEY);
    audio(10_000, SOUND);
    audio(10_021, SOUND);
    video(33, OTHER_VIDEO_HEADER);
    video(2_000, KEY);
    audio(12_005, SOUND);
    expect(out.slice(-2)).toEqual(['VK0*', 'A5']);
    video(2_033, VIDEO_HEADER);
    video(30_000, KEY);
    audio(30_005, SOUND);
    expect(out.slice(-2)).toEqual(['VK0*', 'A5']);
  });

  it('go on over the wrap of the timestamps', () => {
    begin();
    video(2 ** 32 - 20, KEY);
    video(13, INTER);
    expect(out.slice(-2)).toEqual(['VK0*', 'V33']);
  });

  it('break when the video becomes another, not when its header is repeated', () => {
    begin();
    video(0, KEY);
    video(33, VIDEO_HEADER);
    audio(33, AUDIO_HEADER);
    video(66, OTHER_VIDEO_HEADER);
    video(66, INTER);
    video(99, KEY);
    expect(out.slice(3)).toEqual(['VK0*', 'break:codec_change', 'meta', 'VH0', 'AH0', 'VK0*']);
    expect(sequencer.videoInfo).toMatchObject({ codec: 'avc1.4d401f', width: 1280 });
  });

  it('break when the sound becomes another', () => {
    begin();
    video(0, KEY);
    audio(10, SOUND);
    audio(20, OTHER_AUDIO_HEADER);
    audio(30, SOUND);
    video(40, KEY);
    expect(out.slice(3)).toEqual(['VK0*', 'A10', 'break:codec_change', 'meta', 'VH0', 'AH0', 'VK0*']);
  });

  it('pass on metadata that change, once', () => {
    begin();
    video(0, KEY);
    sequencer.setMetadata({ videocodecid: 7, audiocodecid: 10 });
    sequencer.setMetadata({ videocodecid: 7, audiocodecid: 10, title: 'b' });
    expect(out.slice(3)).toEqual(['VK0*', 'meta']);
  });

  describe('without video', () => {
    it('begin at once when the metadata say that there is none', () => {
      sequencer.setMetadata({ audiocodecid: 10 });
      audio(700, AUDIO_HEADER);
      audio(700, SOUND);
      audio(721, SOUND);
      expect(out).toEqual(['meta', 'AH0', 'A0*', 'A21']);
    });

    it('wait a while for video when nobody said that there is none', () => {
      audio(0, AUDIO_HEADER);
      audio(0, SOUND);
      clock.advance(DEFAULT_INGEST_LIMITS.videoWaitMs - 1);
      audio(2_999, SOUND);
      expect(out).toEqual([]);
      clock.advance(1);
      audio(3_000, SOUND);
      expect(out).toEqual(['AH0', 'A0*']);
      expect(drops).toEqual(['before_keyframe', 'before_keyframe']);
    });

    it('let a reader begin every two seconds', () => {
      sequencer.setMetadata({ audiocodecid: 10 });
      audio(0, AUDIO_HEADER);
      for (let atMs = 0; atMs <= 6_000; atMs += 500) audio(atMs, SOUND);
      expect(out.filter((name) => name.endsWith('*'))).toEqual(['A0*', 'A2000*', 'A4000*', 'A6000*']);
    });

    it('break when video comes after all, at its first key frame', () => {
      sequencer.setMetadata({ audiocodecid: 10 });
      audio(0, AUDIO_HEADER);
      audio(0, SOUND);
      video(500, VIDEO_HEADER);
      video(500, INTER);
      audio(520, SOUND);
      video(540, KEY);
      expect(out).toEqual(['meta', 'AH0', 'A0*', 'A520', 'break:codec_change', 'meta', 'VH0', 'AH0', 'VK0*']);
    });

    it('do not wait for video longer than for a key frame when only its header has come', () => {
      begin();
      clock.advance(DEFAULT_INGEST_LIMITS.keyframeWaitMs - 1);
      audio(29_999, SOUND);
      expect(out).toEqual([]);
      clock.advance(1);
      audio(30_000, SOUND);
      expect(out).toEqual(['meta', 'AH0', 'A0*']);
    });
  });

  describe('without sound', () => {
    it('are video alone', () => {
      sequencer.setMetadata({ videocodecid: 7 });
      video(0, VIDEO_HEADER);
      video(0, KEY);
      expect(out).toEqual(['meta', 'VH0', 'VK0*']);
    });

    it('take sound that was promised without a break', () => {
      sequencer.setMetadata({ videocodecid: 7, audiocodecid: 10 });
      video(0, VIDEO_HEADER);
      video(0, KEY);
      audio(10, SOUND);
      audio(20, AUDIO_HEADER);
      audio(30, SOUND);
      expect(out).toEqual(['meta', 'VH0', 'VK0*', 'AH0', 'A30']);
      expect(drops).toEqual(['no_header']);
    });

    it('break when sound comes that nobody promised', () => {
      video(0, VIDEO_HEADER);
      video(0, KEY);
      audio(20, AUDIO_HEADER);
      video(40, KEY);
      expect(out).toEqual(['VH0', 'VK0*', 'break:codec_change', 'VH0', 'AH0', 'VK0*']);
    });
  });

  it('are refused when no key frame ever comes', () => {
    begin();
    video(0, INTER);
    clock.advance(DEFAULT_INGEST_LIMITS.keyframeWaitMs + 1);
    expect(() => video(30_001, INTER)).toThrow(expect.objectContaining({ code: 'keyframe_missing' }));
  });

  it('are refused after too many breaks in a minute, and only then', () => {
    begin();
    const { timelineBreaksPerMinuteMax } = DEFAULT_INGEST_LIMITS;
    for (let index = 0; index < 3 * timelineBreaksPerMinuteMax; index++) {
      clock.advance(60_001 / timelineBreaksPerMinuteMax);
      video(index * 10_000, KEY);
    }
    expect(out.filter((name) => name.startsWith('break')).length).toBe(3 * timelineBreaksPerMinuteMax - 1);
    const flood = (): void => {
      for (let index = 0; index <= timelineBreaksPerMinuteMax; index++) video(index * 10_000, KEY);
    };
    expect(flood).toThrow(expect.objectContaining({ code: 'timeline_breaks_exceeded' }));
  });

  it('need no new headers when the publish is taken up again', () => {
    begin();
    video(0, KEY);
    sequencer = create(sequencer.headers);
    out.length = 0;
    video(9_000, INTER);
    video(9_033, KEY);
    expect(out).toEqual(['meta', 'VH0', 'AH0', 'VK0*']);
  });

  it('of foreign or broken media are refused', () => {
    expect(() => video(0, bytes('12 00'))).toThrow(expect.objectContaining({ code: 'codec_unsupported' }));
    expect(() => video(0, bytes('17 00 000000 01'))).toThrow(
      expect.objectContaining({ code: 'media_malformed' }),
    );
    expect(() => audio(0, bytes('af 00 01'))).toThrow(expect.objectContaining({ code: 'media_malformed' }));
    expect(out).toEqual([]);
  });
});
