import { describe, expect, it } from 'vitest';
import { PlaylistValueError } from '#protocol/hls/attribute-list.ts';
import { writeMediaPlaylist, type MediaPlaylist } from '#protocol/hls/media-playlist.ts';
import type { MediaSegment } from '#protocol/hls/media-segment.ts';
import type { PartialSegment } from '#protocol/hls/partial-segment.ts';

const START_MS = Date.UTC(2026, 0, 1);
const part = (uri: string, ms = 500, changes: Partial<PartialSegment> = {}): PartialSegment => ({
  uri,
  duration: { ticks: ms, timescale: 1000 },
  independent: false,
  gap: false,
  ...changes,
});
const segment = (msn: number, changes: Partial<MediaSegment> = {}): MediaSegment => ({
  uri: `${msn}.m4s`,
  duration: { ticks: 2000, timescale: 1000 },
  gap: false,
  discontinuity: false,
  mapUri: 'init-1.mp4',
  programDateTimeMs: START_MS + msn * 2000,
  parts: [],
  ...changes,
});
const playlist = (changes: Partial<MediaPlaylist> = {}): MediaPlaylist => ({
  constants: { targetDurationS: 2, partTargetMs: 500 },
  mediaSequence: 1,
  discontinuitySequence: 0,
  segments: [segment(1)],
  open: undefined,
  preloadHints: [{ type: 'PART', uri: '2.0.m4s' }],
  renditionReports: [],
  ended: false,
  ...changes,
});

describe('§4.4.3 Media Playlist', () => {
  it('writes the parts of the open segment behind its tags', () => {
    const text = writeMediaPlaylist(
      playlist({
        open: {
          discontinuity: true,
          mapUri: 'init-2.mp4',
          programDateTimeMs: START_MS + 4_000.4,
          parts: [part('2.0.m4s', 500, { independent: true }), part('2.1.m4s', 400, { gap: true })],
        },
        preloadHints: [{ type: 'PART', uri: '2.2.m4s' }],
        renditionReports: [{ uri: '../audio/index.m3u8', lastMsn: 2, lastPart: 0 }],
      }),
    );
    expect(text).toBe(`#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000,HOLD-BACK=6.000,PART-HOLD-BACK=1.500
#EXT-X-PART-INF:PART-TARGET=0.500
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z
#EXTINF:2.00000,
1.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init-2.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04.000Z
#EXT-X-PART:DURATION=0.50000,URI="2.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.40000,URI="2.1.m4s",GAP=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="2.2.m4s"
#EXT-X-RENDITION-REPORT:URI="../audio/index.m3u8",LAST-MSN=2,LAST-PART=0
`);
  });

  it('says nothing of an open segment that has no part', () => {
    const open = { discontinuity: true, mapUri: 'init-2.mp4', programDateTimeMs: START_MS, parts: [] };
    expect(writeMediaPlaylist(playlist({ open }))).not.toContain('EXT-X-DISCONTINUITY\n');
  });

  it('ends with EXT-X-ENDLIST and without hints', () => {
    const text = writeMediaPlaylist(playlist({ ended: true }));
    expect(text).toMatch(/1\.m4s\n#EXT-X-ENDLIST\n$/);
  });

  it.each([
    ['longer than PART-TARGET', part('x', 501)],
    ['of no length', part('x', 0)],
  ])('refuses a part %s', (_, bad) => {
    expect(() => writeMediaPlaylist(playlist({ segments: [segment(1, { parts: [bad] })] }))).toThrow(
      PlaylistValueError,
    );
  });

  it('refuses a segment that rounds above TARGETDURATION', () => {
    const longest = segment(1, { duration: { ticks: 2499, timescale: 1000 } });
    const tooLong = segment(1, { duration: { ticks: 2500, timescale: 1000 } });
    expect(writeMediaPlaylist(playlist({ segments: [longest] }))).toContain('#EXTINF:2.49900');
    expect(() => writeMediaPlaylist(playlist({ segments: [tooLong] }))).toThrow(PlaylistValueError);
  });

  it.each(['https://other.example/index.m3u8', '/live/x/index.m3u8', '//x/index.m3u8'])(
    'refuses the rendition report URI %s',
    (uri) => {
      const renditionReports = [{ uri, lastMsn: 1, lastPart: 0 }];
      expect(() => writeMediaPlaylist(playlist({ renditionReports }))).toThrow(PlaylistValueError);
    },
  );
});

describe('§6.2.5.1 Playlist Delta Updates', () => {
  // 12 s are the Skip Boundary: of ten segments of 2 s the last seven lie within it at least in part.
  const ten = playlist({ segments: Array.from({ length: 10 }, (_, index) => segment(index + 1)) });

  it('replaces what lies wholly beyond the Skip Boundary', () => {
    const text = writeMediaPlaylist(ten, 'delta');
    expect(text).toContain(
      '#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n',
    );
    expect(text.match(/^\d+\.m4s$/gm)).toEqual(['4', '5', '6', '7', '8', '9', '10'].map((n) => `${n}.m4s`));
  });

  it('says the init segment again behind the skip', () => {
    expect(writeMediaPlaylist(ten, 'delta')).toContain('SKIPPED-SEGMENTS=3\n#EXT-X-MAP:URI="init-1.mp4"\n');
  });

  it('lists the removed date ranges, of which there are none, for version 2', () => {
    const text = writeMediaPlaylist(ten, 'delta-v2');
    expect(text).toContain('#EXT-X-VERSION:10\n');
    expect(text).toContain('#EXT-X-SKIP:SKIPPED-SEGMENTS=3,RECENTLY-REMOVED-DATERANGES=""\n');
  });

  it('is the whole playlist when there is nothing to leave out, and when it has ended', () => {
    const short = playlist({ segments: ten.segments.slice(0, 7) });
    expect(writeMediaPlaylist(short, 'delta')).toBe(writeMediaPlaylist(short));
    const ended = { ...ten, ended: true };
    expect(writeMediaPlaylist(ended, 'delta-v2')).toBe(writeMediaPlaylist(ended));
  });
});
