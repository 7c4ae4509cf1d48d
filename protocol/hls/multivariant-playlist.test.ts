import * as HLS from 'hls-parser';
import { describe, expect, it } from 'vitest';
import { PlaylistValueError } from '#protocol/hls/attribute-list.ts';
import {
  writeMultivariantPlaylist,
  type MultivariantAudio,
  type MultivariantVideo,
} from '#protocol/hls/multivariant-playlist.ts';

HLS.setOptions({ strictMode: true });

const video = (
  id: string,
  nominalBps: number,
  changes: Partial<MultivariantVideo> = {},
): MultivariantVideo => ({
  id,
  uri: `${id}/index.m3u8`,
  codecs: 'avc1.64001F',
  nominalBps,
  bandwidth: { peakBps: nominalBps + 1, averageBps: nominalBps - 1 },
  width: 1280,
  height: 720,
  frameRate: 30_000 / 1001,
  ...changes,
});
const audio = (id: string, changes: Partial<MultivariantAudio> = {}): MultivariantAudio => ({
  id,
  uri: `${id}/index.m3u8`,
  codecs: 'mp4a.40.2',
  nominalBps: 128_000,
  bandwidth: { peakBps: 130_000, averageBps: 127_000 },
  channels: 2,
  ...changes,
});

function parse(text: string): HLS.types.MasterPlaylist {
  const playlist = HLS.parse(text);
  if (!playlist.isMasterPlaylist) throw new Error('not a multivariant playlist');
  return playlist;
}

describe('§4.4.6 Multivariant Playlist', () => {
  it('adds the bandwidth of the largest audio rendition to each variant', () => {
    const text = writeMultivariantPlaylist({
      video: [video('720p', 2_000_000)],
      audio: [audio('audio'), audio('loud', { bandwidth: { peakBps: 200_000, averageBps: 150_000 } })],
    });
    expect(text).toContain('BANDWIDTH=2200001,AVERAGE-BANDWIDTH=2149999');
    expect(text).toContain('CODECS="avc1.64001F,mp4a.40.2"');
    expect(text).toContain('FRAME-RATE=29.970');
    expect(parse(text).independentSegments).toBe(true);
    expect(parse(text).variants[0]?.audio.map(({ isDefault, channels }) => [isDefault, channels])).toEqual([
      [true, '2'],
      [false, '2'],
    ]);
  });

  it('lists the variant to begin with first, then from high to low', () => {
    const rungs = [video('360p', 800_000), video('1080p', 6_000_000), video('480p', 1_500_000)];
    const order = (text: string): string[] => parse(text).variants.map(({ uri }) => uri.split('/')[0] ?? '');
    expect(order(writeMultivariantPlaylist({ video: rungs, audio: [] }))).toEqual(['480p', '1080p', '360p']);
    const large = [video('a', 9_000_000), video('b', 5_000_000)];
    expect(order(writeMultivariantPlaylist({ video: large, audio: [] }))).toEqual(['b', 'a']);
  });

  it('keeps the order when measured rates cross', () => {
    const crossed = [
      video('720p', 2_800_000, { bandwidth: { peakBps: 100, averageBps: 90 } }),
      video('360p', 800_000, { bandwidth: { peakBps: 900, averageBps: 800 } }),
    ];
    const { variants } = parse(writeMultivariantPlaylist({ video: crossed, audio: [] }));
    expect(variants.map(({ stableVariantId }) => stableVariantId)).toEqual(['720p', '360p']);
  });

  it('offers sound alone as variants of their own', () => {
    const { variants } = parse(writeMultivariantPlaylist({ video: [], audio: [audio('audio')] }));
    expect(variants).toHaveLength(1);
    expect(variants[0]).toMatchObject({ codecs: 'mp4a.40.2', uri: 'audio/index.m3u8', audio: [] });
  });

  it('has every identifier and says that there are no captions', () => {
    const text = writeMultivariantPlaylist({ video: [video('720p', 1)], audio: [audio('audio')] });
    expect(text).toContain('STABLE-VARIANT-ID="720p"');
    expect(text).toContain('STABLE-RENDITION-ID="audio"');
    expect(text.match(/CLOSED-CAPTIONS=NONE/g)).toHaveLength(1);
  });

  it('refuses a codec that would break out of its quotes', () => {
    const broken = video('720p', 1, { codecs: 'avc1",X="' });
    expect(() => writeMultivariantPlaylist({ video: [broken], audio: [] })).toThrow(PlaylistValueError);
  });
});
