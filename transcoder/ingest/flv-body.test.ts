import { describe, expect, it } from 'vitest';
import { classifyAudio, classifyVideo, FlvBodyError } from './flv-body.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const AVC1 = Buffer.from('avc1').toString('hex');
const MP4A = Buffer.from('mp4a').toString('hex');
const fourCc = (name: string): string => Buffer.from(name).toString('hex');

describe('FLV §E.4.3 video bodies', () => {
  it.each([
    ['sequence header', '17 00 000000 0142', { what: 'header', keyframe: false, compositionOffsetMs: 0 }],
    ['key frame', '17 01 000000 65', { what: 'frame', keyframe: true, compositionOffsetMs: 0 }],
    ['other frame', '27 01 000000 41', { what: 'frame', keyframe: false, compositionOffsetMs: 0 }],
    ['frame shown later', '27 01 000043 41', { what: 'frame', keyframe: false, compositionOffsetMs: 67 }],
    ['frame shown earlier', '27 01 ffffdf 41', { what: 'frame', keyframe: false, compositionOffsetMs: -33 }],
  ])('reads a legacy %s and leaves it as it is', (_name, hex, expected) => {
    const body = bytes(hex);
    const classified = classifyVideo(body);
    expect(classified).toEqual({ kind: 'video', ...expected, body });
    expect('body' in classified && classified.body).toBe(body);
  });

  it.each([
    ['sequence start', `90 ${AVC1} 0142`, '17 00 000000 0142', 'header', false, 0],
    ['coded key frame', `91 ${AVC1} 000043 65aa`, '17 01 000043 65aa', 'frame', true, 67],
    ['coded frame', `a1 ${AVC1} ffffdf 41bb`, '27 01 ffffdf 41bb', 'frame', false, -33],
    ['coded frame without offset', `a3 ${AVC1} 41bb`, '27 01 000000 41bb', 'frame', false, 0],
  ])('brings an enhanced avc1 %s to the legacy form', (_name, hex, legacy, what, keyframe, offset) => {
    expect(classifyVideo(bytes(hex))).toEqual({
      kind: 'video',
      what,
      keyframe,
      compositionOffsetMs: offset,
      body: bytes(legacy),
    });
  });

  it.each([
    ['an empty message', ''],
    ['the end of the sequence', '17 02 000000'],
    ['a short end of the sequence', '17 02'],
    ['an info frame', '57 00'],
    ['a frame without NAL units', '27 01 000000'],
    ['enhanced end of sequence', `92 ${AVC1}`],
    ['enhanced colour metadata', `94 ${AVC1} 02 0005`],
  ])('ignores %s', (_name, hex) => {
    expect(classifyVideo(bytes(hex))).toEqual({ kind: 'ignored' });
  });

  it.each([
    ['Sorenson H.263', '12 00', 'codec_unsupported'],
    ['VP6', '14 00 00', 'codec_unsupported'],
    ['HEVC as some encoders number it', '1c 01 000000 26', 'codec_unsupported'],
    ['HEVC', `91 ${fourCc('hvc1')} 000000 26`, 'codec_unsupported'],
    ['AV1', `90 ${fourCc('av01')} 81`, 'codec_unsupported'],
    ['VP9', `90 ${fourCc('vp09')} 81`, 'codec_unsupported'],
    ['multitrack', `96 00 ${AVC1} 00`, 'codec_unsupported'],
    ['a key frame of one byte', '17', 'media_malformed'],
    ['a header cut short', '17 01 0000', 'media_malformed'],
    ['a sequence header without record', '17 00 000000', 'media_malformed'],
    ['an unknown AVC packet', '17 03 000000 00', 'media_malformed'],
    ['an enhanced header cut short', '91 6176', 'media_malformed'],
    ['an enhanced frame without payload', `91 ${AVC1} 000000`, 'media_malformed'],
  ])('refuses %s', (_name, hex, code) => {
    expect(() => classifyVideo(bytes(hex))).toThrow(expect.objectContaining({ name: 'FlvBodyError', code }));
  });

  it('never repeats a foreign codec name as it came', () => {
    expect(() => classifyVideo(bytes('91 0a1b5b6d 000000 26'))).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^video codec \?\?\?m;/) }),
    );
  });
});

describe('FLV §E.4.2 audio bodies', () => {
  it.each([
    ['sequence header', 'af 00 1190', 'header'],
    ['frame', 'af 01 2112', 'frame'],
    ['frame with the flags of mono', 'ae 01 2112', 'frame'],
  ])('reads an AAC %s and leaves it as it is', (_name, hex, what) => {
    expect(classifyAudio(bytes(hex))).toEqual({ kind: 'audio', what, body: bytes(hex) });
  });

  it.each([
    ['sequence start', `90 ${MP4A} 1190`, 'af 00 1190', 'header'],
    ['coded frame', `91 ${MP4A} 2112`, 'af 01 2112', 'frame'],
  ])('brings an enhanced mp4a %s to the legacy form', (_name, hex, legacy, what) => {
    expect(classifyAudio(bytes(hex))).toEqual({ kind: 'audio', what, body: bytes(legacy) });
  });

  it.each([
    ['an empty message', ''],
    ['a frame without sound', 'af 01'],
    ['enhanced end of sequence', `92 ${MP4A}`],
    ['enhanced channel layout', `94 ${MP4A} 00`],
  ])('ignores %s', (_name, hex) => {
    expect(classifyAudio(bytes(hex))).toEqual({ kind: 'ignored' });
  });

  it.each([
    ['MP3', '2f ff', 'codec_unsupported'],
    ['Speex', 'b2 00', 'codec_unsupported'],
    ['Opus', `90 ${fourCc('Opus')} 00`, 'codec_unsupported'],
    ['multitrack', `95 00 ${MP4A} 00`, 'codec_unsupported'],
    ['AAC of one byte', 'af', 'media_malformed'],
    ['an unknown AAC packet', 'af 02 00', 'media_malformed'],
    ['an enhanced header cut short', '91 6d70', 'media_malformed'],
  ])('refuses %s', (_name, hex, code) => {
    expect(() => classifyAudio(bytes(hex))).toThrow(FlvBodyError);
    expect(() => classifyAudio(bytes(hex))).toThrow(expect.objectContaining({ code }));
  });
});
