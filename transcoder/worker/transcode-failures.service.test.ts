import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LadderSettings } from '#protocol/ingest/publish-session.ts';
import type { IncomingPublish } from '#transcoder/ingest/incoming-publish.ts';
import {
  FakePublish,
  liveEncoderArgs,
  makeFlvClip,
  shiftClip,
  type FlvClip,
} from '#tests/support/flv-source.ts';
import type { PartSink, SunkTimeline } from '#tests/support/part-sink.ts';
import {
  metricValue,
  nameOf,
  startTranscode,
  type TranscodeHarness,
} from '#tests/support/transcode-harness.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';
import { requireFfmpeg } from '#transcoder/ladder/ffmpeg-capabilities.ts';

const LADDER: LadderSettings = { rungs: [{ height: 180, bitrateBps: 250_000 }] };
let clip: FlvClip;
let harness: TranscodeHarness | undefined;

beforeAll(async () => {
  await requireFfmpeg();
  clip = await makeFlvClip(liveEncoderArgs({ size: '320x180', seconds: 20, gopFrames: 30 }));
});
afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

const start = async (
  packets: FlvClip,
  env: Readonly<Record<string, string>> = {},
): Promise<TranscodeHarness> => {
  harness = await startTranscode(new FakePublish(packets, { ladder: LADDER }), env);
  return harness;
};
const until = (seconds: number): FlvClip =>
  clip.filter((packet) => !('dtsMs' in packet) || packet.dtsMs < seconds * 1000);
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}/stat`);
const encoderOf = ({ session }: TranscodeHarness): Promise<number> =>
  waitFor('an encoder', () => session.encoderPid);
const partsStored = (sink: PartSink, timeline: number, count = 4): Promise<boolean> =>
  waitFor(`parts of timeline ${timeline}`, () => sink.partsOf('180p', timeline).length >= count, {
    deadlineMs: 20_000,
  });

/** The grid and the renditions. A faster preset writes another H.264 profile, so codecs may differ. */
const shapeOf = (timeline: SunkTimeline | undefined): unknown => ({
  ...timeline?.presentation,
  renditions: timeline?.presentation.renditions.map(({ codecs, ...rest }) => [codecs.slice(0, 4), rest]),
});

/** The second timeline begins at its own first part, with numbers that were never used; the first ends aligned. */
function expectNewTimeline(sink: PartSink, from: number, to: number): void {
  const [before, after] = [sink.timelines[from], sink.timelines[to]];
  const highest = Math.max(...sink.parts.filter((part) => part.timeline === from).map((part) => part.msn));
  expect(after?.firstMsn).toBeGreaterThan(highest);
  expect(shapeOf(after)).toEqual(shapeOf(before));
  for (const id of ['180p', 'audio']) {
    const first = sink.partsOf(id, to)[0];
    expect([first?.msn, first?.part, first?.startTicks, first?.independent]).toEqual([
      after?.firstMsn,
      0,
      0,
      true,
    ]);
  }
  const endOf = (id: string): string => {
    const last = sink.partsOf(id, from).at(-1);
    return last === undefined || before === undefined ? 'none' : nameOf(last, before);
  };
  expect(endOf('audio')).toBe(endOf('180p'));
}

describe('a timeline that fails is followed by a new one on the grid', () => {
  it('when the encoder dies', async () => {
    const run = await start(clip);
    await partsStored(run.sink, 0);
    const pid = await encoderOf(run);
    process.kill(pid, 'SIGKILL');
    await partsStored(run.sink, 1);
    expectNewTimeline(run.sink, 0, 1);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'encoder_exited' })).toBe(1);
    expect(await metricValue(run.registry, 'transcoder_encoders')).toBe(1);
  });

  it('when the encoder hangs; it is killed', async () => {
    const run = await start(clip, { TRANSCODER_STALL_TIMEOUT_MS: '1000' });
    await partsStored(run.sink, 0);
    const pid = await encoderOf(run);
    process.kill(pid, 'SIGSTOP');
    await partsStored(run.sink, 1);
    expectNewTimeline(run.sink, 0, 1);
    expect(isAlive(pid)).toBe(false);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'encoder_stalled' })).toBe(1);
  });

  it('when the encoder does not take its input', async () => {
    const large = await makeFlvClip(
      liveEncoderArgs({
        size: '320x180',
        seconds: 8,
        gopFrames: 30,
        video: ['-b:v', '8M', '-minrate', '8M'],
      }),
    );
    const run = await start(large, {
      TRANSCODER_ENCODER_BACKLOG_MIB: '1',
      TRANSCODER_STALL_TIMEOUT_MS: '60000',
    });
    await partsStored(run.sink, 0);
    process.kill(await encoderOf(run), 'SIGSTOP');
    await partsStored(run.sink, 1);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'encoder_backlog' })).toBe(1);
  });

  it('when the encoder stays behind; the next one does less', async () => {
    const fast = await makeFlvClip(
      liveEncoderArgs({ size: '640x360', fps: '60', seconds: 14, gopFrames: 60 }),
    );
    const run = await start(fast, {
      TRANSCODER_ENCODER_START_TIMEOUT_MS: '1000',
      TRANSCODER_LAG_MAX_MS: '300',
      TRANSCODER_SLOW_TIMEOUT_MS: '500',
    });
    await partsStored(run.sink, 0);
    const starved = starve(await encoderOf(run));
    const slowCount = (): Promise<number> =>
      metricValue(run.registry, 'transcoder_failures_total', { code: 'encoder_slow' });
    await waitFor('the verdict', async () => (await slowCount()) > 0, { deadlineMs: 20_000 });
    starved.stop();
    await partsStored(run.sink, 1);
    expectNewTimeline(run.sink, 0, 1);
    expect(await slowCount()).toBe(1);
  });

  it('when the timestamps jump, without counting as a failure', async () => {
    const run = await start([
      ...until(3),
      { kind: 'break', reason: 'timestamp_jump' },
      ...shiftClip(until(3), 5_000_000),
    ]);
    await run.done;
    expect(run.sink.timelines.length).toBe(2);
    expectNewTimeline(run.sink, 0, 1);
    expect(run.sink.partsOf('180p', 0).length).toBe(9);
    expect(run.sink.partsOf('180p', 1).length).toBe(9);
    const [first, second] = run.sink.timelines.map((timeline) => timeline.anchorUtcMs);
    expect(Math.abs((second ?? 0) - (first ?? 0) - 3000)).toBeLessThan(300);
    expect(await metricValue(run.registry, 'transcoder_failures_total')).toBe(0);
  });

  it('when the picture changes its size', async () => {
    const portrait = await makeFlvClip(liveEncoderArgs({ size: '180x320', seconds: 3 }));
    const run = await start([...until(2), { kind: 'break', reason: 'codec_change' }, ...portrait]);
    await run.done;
    const sizes = run.sink.timelines.map(({ presentation }) =>
      presentation.renditions.map((one) => (one.kind === 'video' ? `${one.width}x${one.height}` : one.id)),
    );
    expect(sizes).toEqual([
      ['320x180', 'audio'],
      ['180x320', 'audio'],
    ]);
  });

  it('when the picture changes its size, with the renditions that viewers know', async () => {
    const larger = await makeFlvClip(liveEncoderArgs({ size: '480x270', seconds: 3 }));
    const run = await start([...until(2), { kind: 'break', reason: 'codec_change' }, ...larger]);
    await run.done;
    const ids = run.sink.timelines.map(({ presentation }) => presentation.renditions.map(({ id }) => id));
    expect(ids).toEqual([
      ['180p', 'audio'],
      ['180p', 'audio'],
    ]);
  });

  it('when sound goes away and when it comes back', async () => {
    const silent = clip.filter(
      (packet) =>
        packet.kind !== 'audio' || packet.sequenceHeader || packet.dtsMs < 3000 || packet.dtsMs > 9000,
    );
    const run = await start(silent, { TRANSCODER_VANISH_TIMEOUT_MS: '1000' });
    await partsStored(run.sink, 2, 2);
    const tracks = run.sink.timelines.map(({ presentation }) => presentation.renditions.map(({ id }) => id));
    expect(tracks.slice(0, 3)).toEqual([['180p', 'audio'], ['180p'], ['180p', 'audio']]);
    const targets = run.sink.timelines.map(({ presentation }) => presentation.partTargetMs);
    expect(new Set(targets).size).toBe(1);
    // The part of audio that never came is marked, so that both renditions end at the same one.
    expect(run.sink.partsOf('audio', 0).filter((part) => part.gap).length).toBeGreaterThan(0);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'track_vanished' })).toBe(1);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'track_joined' })).toBe(1);
  });

  it('when the origin has forgotten it', async () => {
    const run = await start(clip);
    await partsStored(run.sink, 0);
    let forgotten = 1;
    run.sink.answer = (path) =>
      path.endsWith('m4s') && forgotten-- > 0 ? { status: 404, code: 'timeline_not_found' } : undefined;
    await partsStored(run.sink, 1);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'timeline_lost' })).toBe(1);
  });
});

describe('a reading of the packets that breaks off', () => {
  const brokenOff = (after: FlvClip, then: FlvClip | undefined): IncomingPublish => {
    const whole = new FakePublish(clip, { ladder: LADDER });
    const readings = [after, then];
    return {
      grant: whole.grant,
      ended: then === undefined ? Promise.resolve('lost') : whole.ended,
      async *packets(signal) {
        const reading = readings.shift();
        if (reading === undefined) return;
        yield* new FakePublish(reading).packets(signal);
        if (reading === after) throw new Error('the relay is gone');
      },
    };
  };

  it('is begun again while the broadcaster is there', async () => {
    harness = await startTranscode(brokenOff(until(2), shiftClip(until(2), 2000)));
    await within('the end of the session', 15_000, harness.done);
    expectNewTimeline(harness.sink, 0, 1);
    expect(await metricValue(harness.registry, 'transcoder_failures_total', { code: 'input_lost' })).toBe(1);
  });

  it('is the end when the broadcaster has gone', async () => {
    harness = await startTranscode(brokenOff(until(2), undefined));
    await within('the end of the session', 15_000, harness.done);
    expect(harness.sink.timelines.length).toBe(1);
    expect(harness.sink.partsOf('180p').length).toBe(6);
  });
});

describe('a session ends', () => {
  const ended = (run: TranscodeHarness): Promise<void> => within('the end of the session', 15_000, run.done);
  const leftOf = async (run: TranscodeHarness, pid: number | undefined): Promise<readonly unknown[]> => [
    pid !== undefined && isAlive(pid),
    await metricValue(run.registry, 'transcoder_encoders'),
    await metricValue(run.registry, 'transcoder_upload_queue_items'),
  ];
  const NOTHING = [false, 0, 0];

  it('with the broadcaster; its last frames are stored first', async () => {
    const run = await start(until(3));
    const pid = await encoderOf(run);
    await ended(run);
    expect(run.sink.partsOf('180p').reduce((sum, part) => sum + part.durationTicks, 0)).toBe(3 * 30_000);
    expect(await leftOf(run, pid)).toEqual(NOTHING);
  });

  it.each([
    [410, 'session_ended'],
    [409, 'fencing_token_stale'],
  ])('when the origin says %d %s, and does not tell it', async (status, code) => {
    const run = await start(clip);
    await partsStored(run.sink, 0, 2);
    const pid = await encoderOf(run);
    run.sink.answer = () => ({ status, code });
    await ended(run);
    expect(run.sink.ends).toEqual([]);
    expect(await leftOf(run, pid)).toEqual(NOTHING);
  });

  it('when it is told to stop', async () => {
    const run = await start(clip);
    await partsStored(run.sink, 0, 2);
    const pid = await encoderOf(run);
    run.session.stop();
    await ended(run);
    expect(await leftOf(run, pid)).toEqual(NOTHING);
  });

  it('before its encoder is up', async () => {
    const run = await start(clip);
    run.session.stop();
    await ended(run);
    expect(await leftOf(run, undefined)).toEqual(NOTHING);
  });

  it.each([
    ['a codec that is not H.264', { ...firstVideoHeader(), flvBody: Uint8Array.of(0x1c, 0, 0, 0, 0) }],
    [
      'a sequence header that is damaged',
      { ...firstVideoHeader(), flvBody: Uint8Array.of(0x17, 0, 0, 0, 0, 1) },
    ],
  ])('at %s, and the origin is told', async (_what, header) => {
    const run = await start([header, ...clip]);
    await ended(run);
    expect(run.sink.ends).toMatchObject([{ reason: 'error' }]);
    expect(await metricValue(run.registry, 'transcoder_failures_total', { code: 'source_unsupported' })).toBe(
      1,
    );
  });

  it('when no grid fits the durations, and the origin is told', async () => {
    const slow = await makeFlvClip(liveEncoderArgs({ size: '320x180', fps: '25', seconds: 2 }));
    const publish = new FakePublish(slow, { ladder: LADDER, segmentDurationMs: 1500, partDurationMs: 200 });
    harness = await startTranscode(publish);
    await ended(harness);
    expect(harness.sink.ends).toMatchObject([{ reason: 'error' }]);
    expect(
      await metricValue(harness.registry, 'transcoder_failures_total', { code: 'grid_impossible' }),
    ).toBe(1);
  });

  it('when the encoder dies again and again, and the origin is told', async () => {
    const run = await start(clip, { TRANSCODER_FAILURES_PER_MINUTE_MAX: '1' });
    for (let death = 0; death < 2; death++) {
      const known = run.sink.timelines.length;
      await waitFor('a timeline', () => run.sink.timelines.length > known || known > death, {
        deadlineMs: 15_000,
      });
      process.kill(await encoderOf(run), 'SIGKILL');
      await waitFor(
        'the failure',
        async () => (await metricValue(run.registry, 'transcoder_encoders')) === 0,
      );
    }
    await ended(run);
    expect(run.sink.ends).toMatchObject([{ reason: 'error' }]);
  });

  it('and leaves no folder behind', async () => {
    // A folder of our own: other programs on the machine may have sockets of their ladders in the usual one.
    const folder = mkdtempSync(join(tmpdir(), 'transcode-test-'));
    vi.stubEnv('TMPDIR', folder);
    const run = await start(until(2));
    await encoderOf(run);
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^ladder-/)]);
    await ended(run);
    expect(readdirSync(folder)).toEqual([]);
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });
});

/** Lets a process run for a tenth of the time only. */
function starve(pid: number): { stop(): void } {
  const signal = (name: NodeJS.Signals): void => {
    if (isAlive(pid)) process.kill(pid, name);
  };
  const timer = setInterval(() => {
    signal('SIGCONT');
    setTimeout(() => signal('SIGSTOP'), 5);
  }, 150);
  return {
    stop: () => {
      clearInterval(timer);
      setTimeout(() => signal('SIGCONT'), 20);
    },
  };
}

function firstVideoHeader(): FlvClip[number] & { kind: 'video' } {
  return {
    kind: 'video',
    sequenceHeader: true,
    keyframe: false,
    dtsMs: 0,
    compositionOffsetMs: 0,
    arrivalUtcMs: 0,
    flvBody: new Uint8Array(),
  };
}
