import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  hasReached,
  MEDIA_PLAYLIST_CHARS_MAX,
  newestPart,
  nextPart,
  PlaylistReadError,
  readAttributeList,
  readMediaPlaylist,
} from '#protocol/hls/read-media-playlist.ts';

const LIVE = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.08,CAN-SKIP-UNTIL=12
#EXT-X-PART-INF:PART-TARGET=0.36
#EXT-X-MEDIA-SEQUENCE:100
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-MAP:URI="init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z
#EXTINF:2.00000,
100.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PART:DURATION=1.0,URI="101.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.0,URI="101.1.m4s",GAP=YES
#EXTINF:2.0,
101.m4s
#EXT-X-PART:DURATION=0.33333,URI="102.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33333,URI="102.1.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="102.2.m4s"
#EXT-X-RENDITION-REPORT:URI="../audio/index.m3u8",LAST-MSN=102,LAST-PART=1
`;

const codeOf = (text: string): string => {
  try {
    readMediaPlaylist(text);
  } catch (error) {
    if (error instanceof PlaylistReadError) return error.code;
    throw error;
  }
  return 'accepted';
};

describe('§4.4 Media playlist tags', () => {
  const playlist = readMediaPlaylist(LIVE);

  it('reads what a low-latency player steers by', () => {
    expect(playlist).toMatchObject({
      version: 9,
      targetDurationS: 2,
      partTargetS: 0.36,
      partHoldBackS: 1.08,
      canBlockReload: true,
      canSkipUntilS: 12,
      mediaSequence: 100,
      discontinuitySequence: 3,
      segmentCount: 2,
      mapUri: 'init-0.mp4',
      preloadHint: { uri: '102.2.m4s' },
      renditionReports: [{ uri: '../audio/index.m3u8', lastMsn: 102, lastPart: 1 }],
      ended: false,
    });
    expect(playlist.parts.map(({ msn, part, gap }) => [msn, part, gap])).toEqual([
      [101, 0, false],
      [101, 1, true],
      [102, 0, false],
      [102, 1, false],
    ]);
    expect(playlist.segments[1]).toMatchObject({ msn: 101, uri: '101.m4s', discontinuity: true });
  });

  it('places the live edge on the wall clock, the open segment included', () => {
    expect(playlist.liveEdgeUtcMs).toBeCloseTo(Date.UTC(2026, 0, 1) + 4_666.66, 1);
  });

  it('counts the segments that a delta update skipped', () => {
    const delta = readMediaPlaylist(
      LIVE.replace('#EXTINF:2.00000,\n100.m4s\n#EXT-X-DISCONTINUITY\n', '#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n'),
    );
    expect(delta.segmentCount).toBe(2);
    expect(newestPart(delta)).toEqual({ msn: 102, part: 1 });
  });

  it('reads byte ranges that go on where the last one of the same resource ended', () => {
    const parts = readMediaPlaylist(
      LIVE.replace('URI="102.0.m4s"', 'URI="102.m4s",BYTERANGE="10@0"').replace(
        'URI="102.1.m4s"',
        'URI="102.m4s",BYTERANGE="20"',
      ),
    ).parts;
    expect(parts.at(-1)?.byteRange).toEqual({ offset: 10, length: 20 });
  });
});

describe('§6.2.5.2 the next part', () => {
  it('is the one after the newest of the open segment', () => {
    expect(nextPart(readMediaPlaylist(LIVE))).toEqual({ msn: 102, part: 2 });
  });

  it('is part 0 of the next segment when none is open', () => {
    const closed = readMediaPlaylist(`${LIVE}#EXTINF:2.0,\n102.m4s\n`);
    expect(nextPart(closed)).toEqual({ msn: 103, part: 0 });
    expect(hasReached(closed, { msn: 102, part: 9 })).toBe(false);
    expect(hasReached(closed, { msn: 102, part: 1 })).toBe(true);
  });

  it('is part 0 of the first segment of an empty playlist', () => {
    const empty = readMediaPlaylist('#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n');
    expect(nextPart(empty)).toEqual({ msn: 7, part: 0 });
    expect(newestPart(empty)).toBeUndefined();
    expect(hasReached(empty, { msn: 7, part: 0 })).toBe(false);
  });
});

describe('what is refused', () => {
  const body = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n';
  it.each([
    ['an HTML error page', '<html>502 Bad Gateway</html>', 'playlist_not_m3u8'],
    ['nothing', '', 'playlist_not_m3u8'],
    ['a byte order mark', `\uFEFF${LIVE}`, 'playlist_not_m3u8'],
    [
      'a multivariant playlist',
      `${body}#EXT-X-STREAM-INF:BANDWIDTH=1\n720p/index.m3u8\n`,
      'playlist_not_m3u8',
    ],
    ['no target duration', '#EXTM3U\n#EXTINF:2,\na.m4s\n', 'playlist_tag_missing'],
    ['parts without PART-INF', `${body}#EXT-X-PART:DURATION=1,URI="a"\n`, 'playlist_tag_missing'],
    ['a segment without EXTINF', `${body}a.m4s\n`, 'playlist_tag_invalid'],
    ['a negative media sequence', `${body}#EXT-X-MEDIA-SEQUENCE:-1\n`, 'playlist_tag_invalid'],
    [
      'a media sequence after media',
      `${body}#EXTINF:2,\na\n#EXT-X-MEDIA-SEQUENCE:1\n`,
      'playlist_tag_invalid',
    ],
    [
      'a part without a duration',
      `${body}#EXT-X-PART-INF:PART-TARGET=1\n#EXT-X-PART:URI="a"\n`,
      'playlist_tag_invalid',
    ],
    ['a part target of 0', `${body}#EXT-X-PART-INF:PART-TARGET=0\n`, 'playlist_tag_invalid'],
    ['a date that is none', `${body}#EXT-X-PROGRAM-DATE-TIME:2026-13-01T00:00:00Z\n`, 'playlist_tag_invalid'],
    ['a URI that is too long', `${body}#EXTINF:2,\n${'a'.repeat(3_000)}\n`, 'playlist_tag_invalid'],
    ['too many characters', body + '#'.repeat(MEDIA_PLAYLIST_CHARS_MAX), 'playlist_too_large'],
    ['too many lines', body + '\n'.repeat(30_000), 'playlist_too_large'],
  ])('%s', (_, text, code) => {
    expect(codeOf(text)).toBe(code);
  });
});

describe('§4.2 Attribute lists', () => {
  it('keeps commas inside quotes', () => {
    expect([...readAttributeList('CODECS="avc1,mp4a",BANDWIDTH=5', 1)]).toEqual([
      ['CODECS', 'avc1,mp4a'],
      ['BANDWIDTH', '5'],
    ]);
  });
  it.each(['A', 'A=', 'a=1', 'A=1,,B=2', 'A="x', 'A=1,A=2', 'A="x"y', ' A=1'])('refuses %j', (text) => {
    expect(() => readAttributeList(text, 1)).toThrow(PlaylistReadError);
  });
});

describe('any text', () => {
  it('is read or refused with a typed error, never anything else', () => {
    const lines = LIVE.split('\n');
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.constantFrom(...lines),
            fc.string(),
            fc.tuple(fc.constantFrom(...lines), fc.nat(40), fc.string()).map(([line, at, text]) => {
              return line.slice(0, at) + text + line.slice(at);
            }),
          ),
          { maxLength: 30 },
        ),
        (mutated) => {
          const text = ['#EXTM3U', '#EXT-X-TARGETDURATION:2', ...mutated].join('\n');
          const code = codeOf(text);
          expect(code === 'accepted' || code.startsWith('playlist_')).toBe(true);
          if (code !== 'accepted') return;
          const playlist = readMediaPlaylist(text);
          // Whatever was accepted, the next part lies beyond what the playlist has.
          expect(hasReached(playlist, nextPart(playlist))).toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });
});
