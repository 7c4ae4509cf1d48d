import { describe, expect, it } from 'vitest';
import { initUri, parseMediaFile, partUri, segmentUri } from '#protocol/hls/media-uris.ts';

describe('file names below a rendition', () => {
  it('reads what it writes', () => {
    expect(parseMediaFile(segmentUri(883_612_800))).toEqual({ kind: 'segment', msn: 883_612_800 });
    expect(parseMediaFile(partUri(7, 0))).toEqual({ kind: 'part', msn: 7, part: 0 });
    expect(parseMediaFile(initUri(0))).toEqual({ kind: 'init', timeline: 0 });
  });

  it.each([
    '',
    '07.m4s',
    '7.00.m4s',
    '-7.m4s',
    '7.m4s.',
    '7.1.2.m4s',
    '7.m4v',
    '7.0.M4S',
    'init-.mp4',
    'init-1.m4s',
    '1e3.m4s',
    '9999999999999999.m4s',
    '../7.m4s',
    '7.m4s\n',
  ])('does not read %j', (name) => {
    expect(parseMediaFile(name)).toBeUndefined();
  });
});
