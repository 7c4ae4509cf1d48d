import { describe, expect, it } from 'vitest';
import { readStreams } from './stream-directory.ts';

const entry = { id: 'demo', name: 'Demo', state: 'live', playback: { hls: '/live/demo/master.m3u8' } };

describe('readStreams', () => {
  it('takes id, name, state and playlist', () => {
    expect(readStreams({ streams: [entry] })).toEqual([
      { id: 'demo', name: 'Demo', state: 'live', playlistUrl: '/live/demo/master.m3u8' },
    ]);
  });

  it('calls a stream without a name by its id', () => {
    expect(readStreams({ streams: [{ ...entry, name: '' }] })[0]?.name).toBe('demo');
    expect(readStreams({ streams: [{ ...entry, name: null }] })[0]?.name).toBe('demo');
  });

  it.each([undefined, null, 7, 'x', {}, { streams: null }, { streams: [null, 1, {}, { id: 'a' }] }])(
    'makes nothing of %j',
    (answer) => {
      expect(readStreams(answer)).toEqual([]);
    },
  );

  it('shows a limited number', () => {
    expect(readStreams({ streams: Array.from({ length: 500 }, () => entry) })).toHaveLength(200);
  });
});
