import { describe, expect, it } from 'vitest';
import { describeSituation, type ViewerSituation } from './viewer-message.ts';

const playing: ViewerSituation = {
  streamId: 'demo',
  streamName: 'Demo',
  listedState: 'live',
  serverReachable: true,
  online: true,
  phase: 'playing',
  failure: undefined,
  trouble: undefined,
  unknownStream: false,
  stalledMs: 0,
  broadcastGap: false,
};
const title = (change: Partial<ViewerSituation>): string | undefined =>
  describeSituation({ ...playing, ...change })?.title;

describe('describeSituation', () => {
  it('says nothing while the picture speaks for itself', () => {
    expect(title({})).toBeUndefined();
    expect(title({ phase: 'paused' })).toBeUndefined();
    expect(title({ stalledMs: 300 })).toBeUndefined();
  });

  it.each<[string, Partial<ViewerSituation>, string]>([
    ['no stream yet', { streamId: undefined, serverReachable: undefined }, 'Looking for live streams…'],
    ['nobody live', { streamId: undefined }, 'Nobody is live right now'],
    ['no server', { streamId: undefined, serverReachable: false }, 'The server cannot be reached'],
    ['an offline stream', { phase: 'failed', failure: 'missing' }, '“Demo” is offline'],
    [
      'an unknown stream',
      { phase: 'failed', failure: 'missing', unknownStream: true, streamName: undefined },
      'There is no stream “demo”',
    ],
    ['a codec', { phase: 'failed', failure: 'codec' }, 'This browser cannot play this stream'],
    ['no MSE', { phase: 'failed', failure: 'unsupported' }, 'This browser cannot play live streams'],
    ['an overload', { phase: 'failed', failure: 'busy' }, 'The server is overloaded or starting'],
    ['damage', { phase: 'failed', failure: 'media' }, 'The stream could not be decoded'],
    ['a dead server', { phase: 'failed', failure: 'network' }, 'The server cannot be reached'],
    ['a dead network', { phase: 'failed', failure: 'network', online: false }, 'You are offline'],
    ['a stall', { stalledMs: 900 }, 'Waiting for the stream…'],
    ['a stall for want of a network', { stalledMs: 900, online: false }, 'You are offline'],
    ['a stall with a reason', { stalledMs: 900, trouble: 'busy' }, 'The server is overloaded or starting'],
    ['a gap', { stalledMs: 900, broadcastGap: true }, 'The broadcast was interrupted'],
    ['a broadcaster away', { stalledMs: 900, listedState: 'reconnecting' }, 'The broadcast was interrupted'],
    ['the end', { phase: 'ended' }, 'The broadcast has ended'],
    ['a recording', { phase: 'recording' }, '“Demo” is not live'],
    ['a first start', { phase: 'loading' }, 'Loading…'],
  ])('explains %s', (_name, change, expected) => {
    expect(title(change)).toBe(expected);
  });

  it('keeps the reason while it tries again', () => {
    expect(title({ phase: 'loading', failure: 'busy' })).toBe('The server is overloaded or starting');
  });

  it('offers what the viewer can do', () => {
    const action = (change: Partial<ViewerSituation>): string | undefined =>
      describeSituation({ ...playing, ...change })?.action?.does;
    expect(action({ phase: 'blocked' })).toBe('play');
    expect(action({ phase: 'recording' })).toBe('recording');
    expect(action({ phase: 'failed', failure: 'codec' })).toBe('reload');
    expect(action({ phase: 'failed', failure: 'network' })).toBeUndefined();
  });
});
