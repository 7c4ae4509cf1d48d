import fc from 'fast-check';
import * as HLS from 'hls-parser';
import { describe, expect, it } from 'vitest';
import { checkMediaPlaylist, withMediaUriBase } from '#protocol/hls/media-uri-base.ts';
import { writeMediaPlaylist, type MediaPlaylist } from '#protocol/hls/media-playlist.ts';
import { PlaylistReadError, readMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';

HLS.setOptions({ strictMode: true });

const BASE = 'https://north.example:8443/t/tok/live/demo/720p/';
const duration = { ticks: 1, timescale: 2 };
const parts = (msn: number, count: number) =>
  Array.from({ length: count }, (_, part) => ({
    uri: `${msn}.${part}.m4s`,
    duration,
    independent: part === 0,
    gap: part === 2,
  }));
const PLAYLIST: MediaPlaylist = {
  constants: { targetDurationS: 2, partTargetMs: 500 },
  mediaSequence: 100,
  discontinuitySequence: 0,
  segments: Array.from({ length: 12 }, (_, index) => ({
    uri: `${100 + index}.m4s`,
    duration: { ticks: 2, timescale: 1 },
    gap: false,
    discontinuity: index === 5,
    mapUri: index < 5 ? 'init-0.mp4' : 'init-1.mp4',
    programDateTimeMs: 2_000 * index,
    parts: index < 10 ? [] : parts(100 + index, 4),
  })),
  open: { discontinuity: false, mapUri: 'init-1.mp4', programDateTimeMs: 24_000, parts: parts(112, 2) },
  preloadHints: [{ type: 'PART', uri: '112.2.m4s' }],
  renditionReports: [{ uri: '../audio/index.m3u8', lastMsn: 112, lastPart: 1 }],
  ended: false,
};
const TEXT = writeMediaPlaylist(PLAYLIST);

describe('a media playlist with its media elsewhere', () => {
  it.each(['full', 'delta', 'delta-v2'] as const)(
    'changes the URIs of media and nothing else (%s)',
    (form) => {
      const text = writeMediaPlaylist(PLAYLIST, form);
      const moved = withMediaUriBase(checkMediaPlaylist(text), BASE);
      expect(moved.replaceAll(BASE, '')).toBe(text);
      HLS.parse(moved);
      const [before, after] = [readMediaPlaylist(text), readMediaPlaylist(moved)];
      expect(after.segments.map(({ msn, uri }) => [msn, uri])).toEqual(
        before.segments.map(({ msn, uri }) => [msn, BASE + uri]),
      );
      expect(after.parts).toEqual(before.parts.map((part) => ({ ...part, uri: BASE + part.uri })));
      expect(after.preloadHint?.uri).toBe(`${BASE}112.2.m4s`);
      expect(after.mapUri).toBe('init-1.mp4');
      expect(after.skippedSegments).toBe(before.skippedSegments);
      expect(after.renditionReports).toEqual(before.renditionReports);
    },
  );

  it('leaves hints of init segments where the init segments are', () => {
    const text = writeMediaPlaylist({ ...PLAYLIST, preloadHints: [{ type: 'MAP', uri: 'init-2.mp4' }] });
    expect(withMediaUriBase(checkMediaPlaylist(text), BASE)).toContain('TYPE=MAP,URI="init-2.mp4"');
  });

  it.each([
    ['a line that is cut off', TEXT.slice(0, -3)],
    ['a segment without its URI', TEXT.slice(0, TEXT.indexOf('\n105.m4s') + 1)],
    ['an absolute segment', TEXT.replace('\n105.m4s', '\nhttps://evil.example/105.m4s')],
    ['an absolute part', TEXT.replace('"112.0.m4s"', '"//evil.example/112.0.m4s"')],
    ['a part that climbs', TEXT.replace('"112.0.m4s"', '"../x/112.0.m4s"')],
    ['a map elsewhere', TEXT.replace('init-1.mp4', 'data:,')],
    ['a report elsewhere', TEXT.replace('../audio/index.m3u8', '/audio/index.m3u8')],
    ['a hidden URI', TEXT.replace('URI="112.0.m4s"', 'X-URI="x",URI="112.0.m4s"')],
    [
      'a key of somebody',
      TEXT.replace('#EXT-X-MAP', '#EXT-X-KEY:METHOD=AES-128,URI="https://evil"\n#EXT-X-MAP'),
    ],
    ['HTML', '<html></html>\n'],
    ['nothing', ''],
    ['no media', '#EXTM3U\n#EXT-X-TARGETDURATION:2\n'],
    ['a multivariant playlist', '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n720p/index.m3u8\n'],
    ['too many characters', `${TEXT}#${'x'.repeat(1024 * 1024)}\n`],
  ])('is refused for %s', (_, text) => {
    expect(() => checkMediaPlaylist(text)).toThrow(PlaylistReadError);
  });

  it('either is refused or names nothing but files below the base, whatever bytes were changed', () => {
    fc.assert(
      fc.property(
        fc.nat(TEXT.length - 1),
        fc.nat(40),
        fc.oneof(
          fc.string({ maxLength: 20 }),
          fc.constantFrom('\n', '"', ',URI="', '\n#EXT-X-PART:', '\r', '/'),
        ),
        (at, length, put) => {
          const moved = unlessRefused(() =>
            withMediaUriBase(checkMediaPlaylist(TEXT.slice(0, at) + put + TEXT.slice(at + length)), BASE),
          );
          if (moved === undefined) return;
          const { segments, parts: listed, preloadHint, mapUri = '' } = readMediaPlaylist(moved);
          const uris = [...segments, ...listed].map(({ uri }) => uri);
          const named = [...uris, preloadHint?.uri].filter((uri) => uri !== undefined);
          expect(mapUri).toMatch(/^(?:init-\d+\.mp4|\d+(?:\.\d+)?\.m4s)?$/);
          for (const uri of named) expect(new URL(uri).href.startsWith(BASE)).toBe(true);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

/** What is made of a text; undefined when the text is refused as one that is no playlist of ours. */
function unlessRefused(make: () => string): string | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof PlaylistReadError) return undefined;
    throw error;
  }
}
