import { describe, expect, it } from 'vitest';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';
import { TimelineWatch } from '#transcoder/worker/timeline-watch.ts';

const LIMITS = {
  startTimeoutMs: 10_000,
  stallTimeoutMs: 3_000,
  vanishTimeoutMs: 3_000,
  lagMaxMs: 2_000,
  slowTimeoutMs: 6_000,
};
const video = (id: string): PlannedRendition => ({
  kind: 'video',
  id,
  mode: 'encode',
  width: 640,
  height: 360,
  bitrateBps: 1,
  frameRate: { numerator: 30, denominator: 1 },
  timescale: 30_000,
  frameTicks: 1000,
});
const AUDIO: PlannedRendition = {
  kind: 'audio',
  id: 'audio',
  mode: 'encode',
  channels: 2,
  sampleRateHz: 48_000,
  bitrateBps: 1,
  timescale: 48_000,
  frameTicks: 1024,
};
const BOTH = [video('720p'), video('360p'), AUDIO];

/** Lets input and output flow for a while; `lags` says how far a rendition is behind, `missing` what does not come. */
function flow(
  watch: TimelineWatch,
  fromMs: number,
  toMs: number,
  options: {
    lags?: Readonly<Record<string, number>>;
    silent?: readonly string[];
    missing?: 'video' | 'audio';
    renditions?: readonly PlannedRendition[];
  } = {},
): string | undefined {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 100) {
    for (const kind of ['video', 'audio'] as const)
      if (options.missing !== kind) watch.input(kind, nowMs, nowMs);
    for (const { id } of options.renditions ?? BOTH) {
      const mediaMs = nowMs - (options.lags?.[id] ?? 50);
      if (mediaMs > 0 && options.silent?.includes(id) !== true) watch.output(id, mediaMs, nowMs);
    }
    const wrong = watch.check(nowMs);
    if (wrong !== undefined) return `${wrong.code} at ${nowMs}`;
  }
  return undefined;
}

describe('TimelineWatch', () => {
  it('finds nothing wrong with a healthy timeline', () => {
    const watch = new TimelineWatch(LIMITS, BOTH, 0);
    expect(flow(watch, 0, 60_000)).toBeUndefined();
    expect(watch.lagMs()).toBe(50);
  });

  it('does not blame the encoder when the broadcaster sends nothing', () => {
    const watch = new TimelineWatch(LIMITS, BOTH, 0);
    flow(watch, 0, 20_000);
    expect(watch.check(500_000)).toBeUndefined();
  });

  it('notices one rendition of which nothing comes out any more', () => {
    const watch = new TimelineWatch(LIMITS, BOTH, 0);
    flow(watch, 0, 20_000);
    expect(flow(watch, 20_100, 60_000, { silent: ['360p'] })).toBe('encoder_stalled at 23100');
  });

  it('gives an encoder longer to start than to go on', () => {
    const silent = ['720p', '360p', 'audio'];
    expect(flow(new TimelineWatch(LIMITS, BOTH, 0), 0, 60_000, { silent })).toBe('encoder_stalled at 10100');
  });

  it.each(['video', 'audio'] as const)('notices that %s does not come any more', (missing) => {
    const watch = new TimelineWatch(LIMITS, BOTH, 0);
    flow(watch, 0, 20_000);
    const silent = missing === 'audio' ? ['audio'] : ['720p', '360p'];
    expect(flow(watch, 20_100, 60_000, { missing, silent })).toBe('track_vanished at 23100');
  });

  it('does not miss what was never there', () => {
    const watch = new TimelineWatch(LIMITS, [AUDIO], 0);
    expect(flow(watch, 0, 20_000, { missing: 'video', renditions: [AUDIO] })).toBeUndefined();
  });

  it('allows a lag for a while, not for long', () => {
    const watch = new TimelineWatch(LIMITS, BOTH, 0);
    flow(watch, 0, 20_000);
    expect(flow(watch, 20_100, 25_000, { lags: { '720p': 2_500 } })).toBeUndefined();
    expect(flow(watch, 25_100, 26_000)).toBeUndefined();
    expect(flow(watch, 26_100, 40_000, { lags: { '720p': 2_500 } })).toBe('encoder_slow at 32200');
  });

  it('lets a timeline catch up with what waited for its start', () => {
    const watch = new TimelineWatch(LIMITS, BOTH, 0);
    expect(flow(watch, 0, 9_900, { lags: { '720p': 2_900, '360p': 2_900 } })).toBeUndefined();
  });
});
