import { Registry } from 'prom-client';
import { beforeEach, describe, expect, it } from 'vitest';
import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import { FakeClock } from '#runtime/clock.ts';
import { OriginCallError } from '#transcoder/origin-client.ts';
import { createIngestMetrics } from './ingest-metrics.ts';
import { PublishHeartbeat } from './publish-heartbeat.ts';

const grant: PublishGrant = {
  sessionId: '00000000-0000-4000-8000-000000000001',
  streamId: 'a',
  fencingToken: 1,
  segmentDurationMs: 2_000,
  partDurationMs: 333,
  ladder: {},
};
const source = {
  videoCodec: null,
  audioCodec: null,
  width: null,
  height: null,
  frameRate: null,
  bitrateBps: null,
};

describe('the heartbeat of a publish', () => {
  let clock: FakeClock;
  let beats: unknown[];
  let beatsAtMs: number[];
  let revokedBy: string[];
  let answer: () => Promise<void>;
  let heartbeat: PublishHeartbeat;

  /** Lets time pass as it does in a process: answers come in between. */
  const pass = async (seconds: number, eachSecond: () => void = () => {}): Promise<void> => {
    for (let index = 0; index < seconds * 10; index++) {
      if (index % 10 === 0) eachSecond();
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };

  beforeEach(() => {
    clock = new FakeClock();
    beats = [];
    beatsAtMs = [];
    revokedBy = [];
    answer = () => Promise.resolve();
    heartbeat = new PublishHeartbeat(grant, {
      clock,
      metrics: createIngestMetrics(new Registry()),
      origin: {
        heartbeat: (sessionId, body) => {
          beats.push([sessionId, body]);
          beatsAtMs.push(clock.monotonicMs());
          return answer();
        },
      },
      describe: () => source,
      onRevoked: (code) => revokedBy.push(code),
    });
  });

  it('beats every second while media comes', async () => {
    await pass(5, () => heartbeat.mediaCame());
    expect(beatsAtMs).toEqual([1_000, 2_000, 3_000, 4_000, 5_000]);
    expect(beats[0]).toEqual([grant.sessionId, { source }]);
  });

  it('beats before the first frame, which has a deadline of its own', async () => {
    await pass(3);
    expect(beatsAtMs).toEqual([1_000, 2_000, 3_000]);
  });

  it('falls silent with the broadcaster and beats at once when it is back', async () => {
    await pass(1, () => heartbeat.mediaCame());
    await pass(2);
    expect(beatsAtMs).toEqual([1_000]);
    clock.advance(250);
    heartbeat.mediaCame();
    expect(beatsAtMs).toEqual([1_000, 3_250]);
  });

  it.each([404, 409, 410])('says so when the origin answers %s, and stops', async (status) => {
    answer = () => Promise.reject(new OriginCallError('session_ended', 'over', status));
    await pass(3, () => heartbeat.mediaCame());
    expect(revokedBy).toEqual(['session_ended']);
    expect(beatsAtMs).toEqual([1_000]);
  });

  it.each([undefined, 401, 500, 503])('goes on when the origin fails with %s', async (status) => {
    answer = () => Promise.reject(new OriginCallError('origin_error', 'broken', status));
    await pass(3, () => heartbeat.mediaCame());
    expect(revokedBy).toEqual([]);
    expect(beatsAtMs).toHaveLength(3);
  });

  it('has one call under way at most', async () => {
    answer = () => new Promise(() => {});
    await pass(5, () => heartbeat.mediaCame());
    expect(beatsAtMs).toEqual([1_000]);
  });

  it('beats no more when it is stopped', async () => {
    heartbeat.stop();
    await pass(3, () => heartbeat.mediaCame());
    expect(beatsAtMs).toEqual([]);
    expect(clock.pendingCount).toBe(0);
  });
});
