import { describe, expect, it } from 'vitest';
import type { AmfValue } from './amf0-reader.ts';
import { announces, toMetadata } from './stream-metadata.ts';

describe('FLV §E.5 onMetaData', () => {
  const members = new Map<string, AmfValue>([
    ['width', 1280],
    ['stereo', true],
    ['encoder', 'x'.repeat(300)],
    ['nothing', null],
    ['list', [1, 2]],
    ['inner', new Map([['a', 1]])],
    ['infinite', Infinity],
    ['', 1],
    ['n'.repeat(65), 1],
    ['__proto__', 1],
  ]);

  it.each([
    ['behind @setDataFrame', ['@setDataFrame', 'onMetaData', members]],
    ['on its own', ['onMetaData', members]],
  ])('keeps plain values only, %s', (_name, message) => {
    const metadata = toMetadata(message);
    expect(Object.entries(metadata ?? {})).toEqual([
      ['width', 1280],
      ['stereo', true],
      ['encoder', 'x'.repeat(256)],
      ['__proto__', 1],
    ]);
  });

  it.each([
    ['another data message', ['onTextData', members]],
    ['no object', ['onMetaData', 1]],
    ['an array', ['onMetaData', [1]]],
    ['nothing', []],
    ['@setDataFrame alone', ['@setDataFrame']],
  ])('is not %s', (_name, message) => {
    expect(toMetadata(message as AmfValue[])).toBeUndefined();
  });
});

describe('the tracks that metadata announce', () => {
  it.each([
    ['both', { videocodecid: 7, audiocodecid: 10 }, true, true],
    ['video only', { width: 640, framerate: 30 }, true, false],
    ['video only, audio 0', { videocodecid: 7, audiocodecid: 0 }, true, false],
    ['audio only', { audiosamplerate: 48000 }, false, true],
    ['audio only, video 0', { videocodecid: 0, width: 0, audiocodecid: 10 }, false, true],
    ['codecs as text', { videocodecid: 'avc1', audiocodecid: 'mp4a' }, true, true],
    ['neither', { encoder: 'x' }, undefined, undefined],
    ['nothing', undefined, undefined, undefined],
  ])('%s', (_name, metadata, video, audio) => {
    expect(announces(metadata, 'video')).toBe(video);
    expect(announces(metadata, 'audio')).toBe(audio);
  });
});
