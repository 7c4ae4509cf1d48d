import { describe, expect, it } from 'vitest';
import type { LiveRenditionStatus, LiveStatus } from '#origin/live/live-streams.ts';
import { describeStream } from '#origin/api/stream-status.ts';
import type { SessionStatus } from '#origin/sessions/publish-sessions.ts';

const rendition = (changes: Partial<LiveRenditionStatus>): LiveRenditionStatus => ({
  id: '720p',
  kind: 'video',
  codecs: 'avc1.64001F',
  width: 1_280,
  height: 720,
  frameRate: 30,
  nominalBitrateBps: 2_800_000,
  averageBitrateBps: null,
  peakBitrateBps: null,
  storeLatencyMs: null,
  lastMsn: 1,
  lastPart: 0,
  ...changes,
});
const audio = rendition({ id: 'audio', kind: 'audio', codecs: 'mp4a.40.2', width: null, height: null });
const live = (changes: Partial<LiveStatus> = {}): LiveStatus => ({
  state: 'live',
  lastMsn: 1,
  lastPart: 0,
  isStale: false,
  renditions: [],
  waiters: 0,
  timelines: 1,
  windowBytes: 0,
  ...changes,
});
const session = (source: SessionStatus['source'] = null): SessionStatus => ({
  sessionId: '4f8c5b0e-0000-4000-8000-000000000000',
  startedAtMs: Date.UTC(2026, 0, 2),
  remoteAddress: '192.0.2.1',
  source,
});
const describeWith = (status: LiveStatus | undefined, newest: SessionStatus | undefined) =>
  describeStream('one', { live: { status: () => status }, sessions: { newest: () => newest } });

describe('describeStream', () => {
  it.each([
    [undefined, undefined, 'offline'],
    [undefined, session(), 'offline'],
    [live({ state: 'ended' }), undefined, 'offline'],
    [live({ state: 'reconnecting' }), session(), 'reconnecting'],
    [live(), session(), 'live'],
  ])('of %# is what the live window says', (status, newest, state) => {
    expect(describeWith(status, newest).state).toBe(state);
  });

  it('shows what the ingest has seen', () => {
    const source = {
      videoCodec: 'hvc1',
      audioCodec: null,
      width: 1_920,
      height: 1_080,
      frameRate: 59.94,
      bitrateBps: 6_000_000,
    };
    const status = describeWith(live({ renditions: [rendition({}), audio] }), session(source));
    expect(status).toMatchObject({
      startedAt: '2026-01-02T00:00:00.000Z',
      video: { codec: 'hvc1', width: 1_920, height: 1_080, frameRate: 59.94 },
      audio: { codec: 'mp4a.40.2' },
      bitrateBps: 6_000_000,
    });
  });

  it('shows the largest rendition until the ingest has seen something', () => {
    const renditions = [rendition({ id: '360p', width: 640, height: 360 }), rendition({}), audio];
    expect(describeWith(live({ renditions }), session())).toMatchObject({
      video: { codec: 'avc1.64001F', width: 1_280, height: 720, frameRate: 30 },
      audio: { codec: 'mp4a.40.2' },
      bitrateBps: null,
    });
  });

  it('has no video for a broadcast of sound only', () => {
    expect(describeWith(live({ renditions: [audio] }), session()).video).toBeNull();
  });

  it('shows the latency of the slowest rendition while parts come in', () => {
    const renditions = [rendition({ storeLatencyMs: 90 }), rendition({ storeLatencyMs: 140 }), audio];
    expect(describeWith(live({ renditions }), session()).latencyMs).toBe(140);
    expect(describeWith(live({ state: 'reconnecting', renditions }), session()).latencyMs).toBeNull();
  });

  it('says nothing of an old broadcast once the stream is offline', () => {
    const ended = live({ state: 'ended', renditions: [rendition({}), audio], waiters: 2 });
    expect(describeWith(ended, undefined)).toEqual({
      state: 'offline',
      startedAt: null,
      video: null,
      audio: null,
      bitrateBps: null,
      latencyMs: null,
      viewersWaiting: 2,
    });
  });
});
