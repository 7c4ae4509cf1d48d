import { describe, expect, it } from 'vitest';
import { lastPart, listedParts, nextPart } from '#bench/hls/live-edge.ts';
import { readMediaPlaylist } from '#bench/hls/media-playlist.ts';
import { mediaPlaylistUris, readMultivariantPlaylist } from '#bench/hls/multivariant-playlist.ts';

const playlist = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.08
#EXT-X-PART-INF:PART-TARGET=0.36
#EXT-X-MEDIA-SEQUENCE:100
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-MAP:URI="init-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:00.000Z
#EXTINF:2.000,
100.m4s
#EXT-X-GAP
#EXTINF:2.000,
101.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init-1.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:04.000Z
#EXT-X-PART:DURATION=0.33334,URI="102.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.33334,URI="102.1.m4s",GAP=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="102.2.m4s"
#EXT-X-RENDITION-REPORT:URI="../a/index.m3u8",LAST-MSN=102,LAST-PART=1
`;

describe('readMediaPlaylist', () => {
  it('reads segments, parts and what holds for them', () => {
    const read = readMediaPlaylist(playlist);
    expect(read).toMatchObject({
      targetDurationS: 2,
      partTargetS: 0.36,
      mediaSequence: 100,
      discontinuitySequence: 3,
    });
    expect(read.serverControl.get('PART-HOLD-BACK')).toBe('1.08');
    expect(
      read.segments.map(({ msn, gap, discontinuity, mapUri }) => [msn, gap, discontinuity, mapUri]),
    ).toEqual([
      [100, false, false, 'init-0.mp4'],
      [101, true, false, 'init-0.mp4'],
      [102, false, true, 'init-1.mp4'],
    ]);
    expect(read.segments[2]?.programDateTimeMs).toBe(Date.UTC(2026, 10, 22, 10, 0, 4));
    expect(listedParts(read).map(({ msn, part, gap }) => [msn, part, gap])).toEqual([
      [102, 0, false],
      [102, 1, true],
    ]);
    expect(read.renditionReports).toEqual([{ uri: '../a/index.m3u8', lastMsn: 102, lastPart: 1 }]);
    expect(lastPart(read)?.uri).toBe('102.1.m4s');
    expect(nextPart(read)).toEqual({ msn: 102, part: 2 });
  });

  it('goes on with part 0 of the next segment when the last one is whole', () => {
    const closed = playlist.replace('#EXT-X-PRELOAD-HINT', '#EXTINF:0.667,\n102.m4s\n#EXT-X-PRELOAD-HINT');
    expect(nextPart(readMediaPlaylist(closed))).toEqual({ msn: 103, part: 0 });
  });

  it('counts skipped segments', () => {
    const delta = playlist.replace(
      '#EXTINF:2.000,\n100.m4s',
      '#EXT-X-SKIP:SKIPPED-SEGMENTS=5\n#EXTINF:2.000,\n105.m4s',
    );
    expect(readMediaPlaylist(delta).segments.map(({ msn }) => msn)).toEqual([105, 106, 107]);
  });

  it.each([
    ['an answer that is no playlist', '<html>', /begins with #EXTM3U/],
    ['no target duration', playlist.replace('#EXT-X-TARGETDURATION:2\n', ''), /TARGETDURATION is missing/],
    ['a segment without EXTINF', playlist.replace('#EXTINF:2.000,\n100', '100'), /without a valid EXTINF/],
    [
      'MAP after the first part',
      playlist.replace('#EXT-X-PRELOAD-HINT', '#EXT-X-MAP:URI="x"\n#EXT-X-PRELOAD-HINT'),
      /after the first part/,
    ],
    ['an attribute twice', playlist.replace('TYPE=PART', 'TYPE=PART,TYPE=PART'), /comes twice/],
    ['a broken attribute list', playlist.replace('TYPE=PART,', 'TYPE=PART,,'), /not an attribute list/],
    [
      'a header tag twice',
      playlist.replace('#EXT-X-VERSION:9', '#EXT-X-VERSION:9\n#EXT-X-VERSION:9'),
      /comes twice/,
    ],
  ])('refuses %s', (_, text, why) => {
    expect(() => readMediaPlaylist(text)).toThrow(why);
  });
});

describe('readMultivariantPlaylist', () => {
  it('reads variants and renditions', () => {
    const read = readMultivariantPlaylist(`#EXTM3U
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="main",URI="audio/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000,AUDIO="a"
720p/index.m3u8
`);
    expect(read.variants).toMatchObject([
      { uri: '720p/index.m3u8', width: 1280, codecs: ['avc1.64001f', 'mp4a.40.2'], audioGroup: 'a' },
    ]);
    expect(mediaPlaylistUris(read)).toEqual(['720p/index.m3u8', 'audio/index.m3u8']);
  });
});
