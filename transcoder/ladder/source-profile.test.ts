import { describe, expect, it } from 'vitest';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { SourceProber } from '#transcoder/ladder/source-profile.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const AVC_720P30 =
  '0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800';
const AVC_WIDE_PAL =
  '0164001effe100276764001eacd940b424dff8020001688000000300800000193020007a12000f427261807c50a65801000568fbacb22cfdf8f800';

const videoHeader = (record = AVC_720P30): IngestPacket => ({
  kind: 'video',
  sequenceHeader: true,
  keyframe: false,
  dtsMs: 0,
  compositionOffsetMs: 0,
  arrivalUtcMs: 0,
  flvBody: hex(`1700000000${record}`),
});
const videoFrame = (dtsMs: number, keyframe = dtsMs === 0): IngestPacket => ({
  kind: 'video',
  sequenceHeader: false,
  keyframe,
  dtsMs,
  compositionOffsetMs: 0,
  arrivalUtcMs: 0,
  flvBody: hex('170100000000000001'),
});
const audioHeader = (config = '1210'): IngestPacket => ({
  kind: 'audio',
  sequenceHeader: true,
  dtsMs: 0,
  arrivalUtcMs: 0,
  flvBody: hex(`af00${config}`),
});
const audioFrame = (dtsMs: number): IngestPacket => ({
  kind: 'audio',
  sequenceHeader: false,
  dtsMs,
  arrivalUtcMs: 0,
  flvBody: hex('af01ff'),
});
const metadata = (values: Record<string, number | string | boolean>): IngestPacket => ({
  kind: 'metadata',
  values,
});
const profileOf = (...packets: readonly IngestPacket[]) => {
  const prober = new SourceProber();
  for (const packet of packets) prober.push(packet);
  return prober.profile();
};
const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof TranscodeError) return error.code;
    throw error;
  }
  return 'no error';
};

describe('SourceProber', () => {
  it('knows the source as soon as both tracks have come', () => {
    expect(profileOf(videoHeader(), audioHeader(), videoFrame(0), audioFrame(5))).toMatchObject({
      video: {
        width: 1280,
        height: 720,
        frameRate: { numerator: 30, denominator: 1 },
        bitrateBps: undefined,
      },
      audio: { sampleRateHz: 44_100, channels: 2 },
    });
  });

  it('takes the bit rate that the broadcaster claims', () => {
    const profile = profileOf(
      metadata({ videodatarate: 2500 }),
      videoHeader(),
      audioHeader(),
      videoFrame(0),
      audioFrame(5),
    );
    expect(profile?.video?.bitrateBps).toBe(2_500_000);
  });

  it('waits a second of media for audio that may come', () => {
    const before = [videoHeader(), videoFrame(0), videoFrame(999)];
    expect(profileOf(...before)).toBeUndefined();
    expect(profileOf(...before, videoFrame(1000))).toMatchObject({ video: { height: 720 } });
    expect(profileOf(...before, videoFrame(1000))).not.toHaveProperty('audio');
  });

  it('does not wait for audio that the metadata rules out', () => {
    const described = metadata({ videocodecid: 7, width: 1280 });
    expect(profileOf(described, videoHeader(), videoFrame(0))).not.toHaveProperty('audio');
    expect(profileOf(metadata({ hasAudio: false }), videoHeader(), videoFrame(0))).toBeUndefined();
  });

  it('takes audio alone after a second without video', () => {
    expect(profileOf(audioHeader('1208'), audioFrame(0), audioFrame(900))).toBeUndefined();
    expect(profileOf(audioHeader('1208'), audioFrame(0), audioFrame(1000))).toEqual({
      audio: { sampleRateHz: 44_100, channels: 1 },
    });
  });

  it('does not take audio alone while video waits for its key frame', () => {
    const waiting = [videoHeader(), audioHeader(), videoFrame(5, false), audioFrame(5), audioFrame(3000)];
    expect(profileOf(...waiting)).toBeUndefined();
    expect(profileOf(...waiting, videoFrame(3010, true))).toMatchObject({ video: {}, audio: {} });
  });

  it('keeps the sequence headers over a break, not the frames', () => {
    const prober = new SourceProber();
    for (const packet of [videoHeader(), audioHeader(), videoFrame(0), audioFrame(5)]) prober.push(packet);
    prober.push({ kind: 'break', reason: 'timestamp_jump' });
    expect(prober.profile()).toBeUndefined();
    expect(prober.sequenceHeaders.map((packet) => packet.kind)).toEqual(['video', 'audio']);
    for (const packet of [videoFrame(0), audioFrame(5)]) prober.push(packet);
    expect(prober.profile()).toMatchObject({ video: { height: 720 }, audio: {} });
  });

  it('shows anamorphic pictures with square samples', () => {
    const profile = profileOf(videoHeader(AVC_WIDE_PAL), audioHeader(), videoFrame(0), audioFrame(5));
    expect(profile?.video).toMatchObject({ width: 1024, height: 576, codedWidth: 720, codedHeight: 576 });
  });

  it('does not take an end-of-sequence marker for a frame', () => {
    const marker: IngestPacket = {
      ...(videoFrame(0) as IngestPacket & { kind: 'video' }),
      flvBody: hex('1702000000'),
    };
    expect(profileOf(videoHeader(), audioHeader(), marker, audioFrame(5))).toBeUndefined();
  });

  it.each([
    ['a video header of another codec', { ...videoHeader(), flvBody: hex('1c00000000') }],
    ['a damaged video header', videoHeader('0164')],
    ['an audio header of another codec', { ...audioHeader(), flvBody: hex('2f00') }],
    ['a damaged audio header', audioHeader('')],
    ['a frame of Enhanced RTMP', { ...videoFrame(0), flvBody: hex('9168766331') }],
    ['MP3', { ...audioFrame(0), flvBody: hex('2fff') }],
  ])('refuses %s', (_what, packet) => {
    expect(codeOf(() => profileOf(packet))).toBe('source_unsupported');
  });
});
