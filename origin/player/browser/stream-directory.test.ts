import { describe, expect, it } from 'vitest';
import { readStreams } from './stream-directory.ts';

const entry = { id: 'demo', name: 'Demo', state: 'live', playback: { hls: '/live/demo/master.m3u8' } };

describe('readStreams', () => {
  it('takes id, name, state and playlist', () => {
    expect(readStreams({ streams: [entry] }, 'live.example')).toEqual([
      { id: 'demo', name: 'Demo', state: 'live', playlistUrl: '/live/demo/master.m3u8' },
    ]);
  });

  it.each([
    ['http://live.example/live/demo/master.m3u8', '/live/demo/master.m3u8'],
    ['https://cdn.example/live/demo/master.m3u8', 'https://cdn.example/live/demo/master.m3u8'],
  ])('takes the playlist %s as %s', (hls, taken) => {
    const streams = readStreams({ streams: [{ ...entry, playback: { hls } }] }, 'live.example');
    expect(streams[0]?.playlistUrl).toBe(taken);
  });

  it('calls a stream without a name by its id', () => {
    expect(readStreams({ streams: [{ ...entry, name: '' }] }, 'live.example')[0]?.name).toBe('demo');
    expect(readStreams({ streams: [{ ...entry, name: null }] }, 'live.example')[0]?.name).toBe('demo');
  });

  it.each([undefined, null, 7, 'x', {}, { streams: null }, { streams: [null, 1, {}, { id: 'a' }] }])(
    'makes nothing of %j',
    (answer) => {
      expect(readStreams(answer, 'live.example')).toEqual([]);
    },
  );

  it('shows a limited number', () => {
    expect(readStreams({ streams: Array.from({ length: 500 }, () => entry) }, 'live.example')).toHaveLength(
      200,
    );
  });
});
