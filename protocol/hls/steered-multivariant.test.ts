import fc from 'fast-check';
import * as HLS from 'hls-parser';
import { describe, expect, it } from 'vitest';
import { LADDER_ENTRIES_MAX, readMultivariantLadder } from '#protocol/hls/multivariant-ladder.ts';
import { writeMultivariantPlaylist } from '#protocol/hls/multivariant-playlist.ts';
import { PlaylistReadError } from '#protocol/hls/read-media-playlist.ts';
import {
  writeSingleMultivariant,
  writeSteeredMultivariant,
  type LadderPathway,
} from '#protocol/hls/steered-multivariant.ts';

HLS.setOptions({ strictMode: true });

const rendition = (id: string, nominalBps: number) => ({
  id,
  uri: `${id}/index.m3u8`,
  codecs: 'avc1.64001F',
  nominalBps,
  bandwidth: { peakBps: nominalBps + 1, averageBps: nominalBps - 1 },
});
const ORIGIN_TEXT = writeMultivariantPlaylist({
  video: [
    { ...rendition('720p', 2_500_000), width: 1280, height: 720, frameRate: 30 },
    { ...rendition('360p', 800_000), width: 640, height: 360, frameRate: 30_000 / 1001 },
  ],
  audio: [{ ...rendition('audio', 128_000), codecs: 'mp4a.40.2', channels: 2 }],
});
const PATHWAYS: readonly LadderPathway[] = [
  { id: 'north', folder: 'https://north.example/live/demo/' },
  { id: 'south.2', folder: 'https://south.example:8443/x/t/abc.def/live/demo/' },
];
const STEERING = { serverUri: 'https://steer.example/steering/v1/demo?session=AbC', pathwayId: 'south.2' };
const STREAM_INF = '#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS="avc1.64001F"';

describe('§4.4.6.6 EXT-X-CONTENT-STEERING', () => {
  const text = writeSteeredMultivariant(readMultivariantLadder(ORIGIN_TEXT), PATHWAYS, STEERING);

  it('writes the same ladder for each pathway, with audio groups of its own', () => {
    const playlist = HLS.parse(text) as HLS.types.MasterPlaylist;
    expect(playlist.variants.map(({ uri }) => uri)).toEqual(
      PATHWAYS.flatMap(({ folder }) => ['720p', '360p'].map((id) => `${folder}${id}/index.m3u8`)),
    );
    expect(playlist.variants.map(({ audio }) => audio[0]?.uri)).toEqual(
      PATHWAYS.flatMap(({ folder }) => [`${folder}audio/index.m3u8`, `${folder}audio/index.m3u8`]),
    );
    const lines = text.split('\n').filter((line) => line.startsWith('#EXT-X-STREAM-INF:'));
    const withoutPathway = lines.map((line) => line.replace(/,AUDIO="[^"]*",PATHWAY-ID="[^"]*"$/, ''));
    expect(withoutPathway.slice(0, 2)).toEqual(withoutPathway.slice(2));
    expect(lines.every((line) => /STABLE-VARIANT-ID="(?:720p|360p)"/.test(line))).toBe(true);
    expect(text.match(/STABLE-RENDITION-ID="audio"/g)).toHaveLength(2);
  });

  it('names the steering server and the pathway to begin with once', () => {
    expect(text.match(/^#EXT-X-CONTENT-STEERING:.*$/gm)).toEqual([
      '#EXT-X-CONTENT-STEERING:SERVER-URI="https://steer.example/steering/v1/demo?session=AbC",PATHWAY-ID="south.2"',
    ]);
  });

  it('keeps all that the origin says of a variant', () => {
    const before = HLS.parse(ORIGIN_TEXT) as HLS.types.MasterPlaylist;
    const after = HLS.parse(
      writeSingleMultivariant(readMultivariantLadder(ORIGIN_TEXT), ''),
    ) as HLS.types.MasterPlaylist;
    expect(after.variants).toEqual(before.variants);
  });
});

describe('a multivariant playlist of an origin', () => {
  const withLines = (...lines: string[]): string => `#EXTM3U\n#EXT-X-VERSION:9\n${lines.join('\n')}\n`;

  it.each([
    ['a line that is cut off', ORIGIN_TEXT.slice(0, -5)],
    ['a last variant without its URI', ORIGIN_TEXT.split('\n').slice(0, -2).join('\n') + '\n'],
    ['no variant', withLines('#EXT-X-INDEPENDENT-SEGMENTS')],
    ['HTML', '<html>\n'],
    ['an absolute URI', withLines(STREAM_INF, 'https://evil.example/720p/index.m3u8')],
    ['a URI that climbs', withLines(STREAM_INF, '../720p/index.m3u8')],
    ['a URI that breaks out', withLines(STREAM_INF, '720p/index.m3u8"')],
    ['codecs that break out', withLines('#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="a b"', '720p/index.m3u8')],
    ['a bandwidth that is none', withLines('#EXT-X-STREAM-INF:BANDWIDTH=1e9', '720p/index.m3u8')],
    ['no bandwidth', withLines('#EXT-X-STREAM-INF:CODECS="avc1.64001F"', '720p/index.m3u8')],
    ['a group that is not there', withLines(`${STREAM_INF},AUDIO="x"`, '720p/index.m3u8')],
    ['a media playlist', withLines('#EXT-X-TARGETDURATION:2', '#EXTINF:2,', '1.m4s')],
    [
      'too many variants',
      withLines(
        ...Array.from({ length: LADDER_ENTRIES_MAX + 2 }, (_, i) => `${STREAM_INF}\nv${i}/index.m3u8`),
      ),
    ],
    ['too many characters', `${ORIGIN_TEXT}#${'x'.repeat(1024 * 1024)}\n`],
  ])('is refused for %s', (_, text) => {
    expect(() => readMultivariantLadder(text)).toThrow(PlaylistReadError);
  });

  it('gives STABLE ids to entries without, and drops what it does not know', () => {
    const ladder = readMultivariantLadder(
      withLines('#EXT-X-SESSION-DATA:DATA-ID="x"', `${STREAM_INF},X-OWN="evil"`, '360p/index.m3u8'),
    );
    expect(ladder.variants[0]?.attributes).toBe(
      'BANDWIDTH=800000,CODECS="avc1.64001F",STABLE-VARIANT-ID="360p"',
    );
    expect(writeSingleMultivariant(ladder, '')).not.toMatch(/evil|SESSION-DATA/);
  });

  it('either is refused or gives playlists that a strict parser accepts, whatever bytes were changed', () => {
    fc.assert(
      fc.property(
        fc.nat(ORIGIN_TEXT.length - 1),
        fc.nat(12),
        fc.oneof(
          fc.string({ maxLength: 12 }),
          fc.constantFrom('\n', '"', ',', '#EXTM3U\n', ',URI="', '\r\n#'),
        ),
        (at, length, put) => {
          const changed = ORIGIN_TEXT.slice(0, at) + put + ORIGIN_TEXT.slice(at + length);
          const text = unlessRefused(() =>
            writeSteeredMultivariant(readMultivariantLadder(changed), PATHWAYS, STEERING),
          );
          if (text === undefined) return;
          const playlist = HLS.parse(text) as HLS.types.MasterPlaylist;
          for (const { uri } of playlist.variants)
            expect(PATHWAYS.some(({ folder }) => uri.startsWith(folder))).toBe(true);
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
