import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { DEFAULT_LIVE_SETTINGS } from '#origin/live/live-settings.ts';
import { LiveStreams } from '#origin/live/live-streams.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { LiveRecording } from '#origin/recording/live-recording.ts';
import type { Spool } from '#origin/recording/spool.ts';
import type { UploadQueue } from '#origin/recording/upload-queue.ts';

describe('LiveRecording', () => {
  it('never makes a stream fail: a mistake ends the recording and is told once', () => {
    const failures: unknown[] = [];
    const clock = new FakeClock();
    const broken = (): never => {
      throw new TypeError('a mistake');
    };
    const recording = new LiveRecording({ streamId: 'one', id: 1 }, { dvrWindowMs: 1, retentionMs: 1 }, 0, {
      clock,
      spool: { writeState: broken, append: broken } as unknown as Spool,
      queue: {} as UploadQueue,
      onFailure: (error) => failures.push(error),
    });
    const recorder = {
      begin: () => recording,
      removed: () => undefined,
      isKept: () => false,
      segment: () => Promise.resolve(undefined),
      init: () => Promise.resolve(undefined),
    };
    const deps = { clock, logger: createLogger('test', 'silent'), metrics: createMetrics('test'), recorder };
    const streams = new LiveStreams(DEFAULT_LIVE_SETTINGS, deps);
    const input = {
      streamId: 'one',
      sessionId: '08a37e82-99c0-4ffa-a239-f673de540d07',
      fencingToken: 1,
      anchorUtcMs: clock.nowMs(),
      presentation: makePresentation(),
      lastMsnFloor: 0,
      reconnectWindowMs: 1_000,
      liveWindowMs: 10_000,
      recording: { dvrWindowMs: 1, retentionMs: 1 },
    };
    expect(streams.beginTimeline(input).firstMsn).toBeGreaterThan(0);
    clock.advance(3_000);
    streams.beginTimeline({ ...input, anchorUtcMs: clock.nowMs() });
    expect(failures).toHaveLength(1);
  });
});
