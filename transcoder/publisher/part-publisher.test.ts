import { createHash } from 'node:crypto';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PublishGrant, TimelineRequest } from '#protocol/ingest/publish-session.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { PartSink } from '#tests/support/part-sink.ts';
import { waitFor } from '#tests/support/wait-for.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import type { CutInit, CutPart } from '#transcoder/cutter/cut-part.ts';
import type { PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';
import type { UploadLimits } from '#transcoder/publisher/origin-uploader.ts';
import { byPriority, PartPublisher } from '#transcoder/publisher/part-publisher.ts';

const GRANT: PublishGrant = {
  sessionId: '6f8a5c1e-1111-4222-8333-944445555666',
  streamId: 'demo',
  fencingToken: 7,
  segmentDurationMs: 2000,
  partDurationMs: 333,
  ladder: {},
};
const video = (id: string, bitrateBps: number): PlannedRendition => ({
  kind: 'video',
  id,
  mode: 'encode',
  width: 640,
  height: 360,
  bitrateBps,
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
  bitrateBps: 128_000,
  timescale: 48_000,
  frameTicks: 1024,
};
const RENDITIONS = [video('720p', 2_800_000), video('360p', 700_000), AUDIO];
const REQUEST: Omit<TimelineRequest, 'fencingToken'> = {
  anchorUtcMs: 1_790_000_000_000,
  presentation: {
    segmentDuration: { ticks: 60, timescale: 30 },
    partsPerSegment: 6,
    partTargetMs: 342,
    targetDurationS: 2,
    renditions: [
      {
        kind: 'audio',
        id: 'audio',
        codecs: 'mp4a.40.2',
        timescale: 48_000,
        bitrateBps: 1,
        channels: 2,
        sampleRateHz: 48_000,
      },
    ],
  },
};
const LIMITS: UploadLimits = {
  bytesMax: 1_000_000,
  ageMaxMs: 4_000,
  itemsPerRenditionMax: 50,
  attemptTimeoutMs: 500,
};
const part = (renditionId: string, index: number, bytes = 1000): CutPart => ({
  renditionId,
  segment: Math.floor(index / 6),
  part: index % 6,
  startTicks: index * 10_000,
  durationTicks: 10_000,
  independent: index % 6 === 0,
  last: index % 6 === 5,
  bytes: new Uint8Array(bytes).fill(index),
  arrivalUtcMs: Date.now() + 0.4,
});
const initOf = (renditionId: string): CutInit => ({
  renditionId,
  bytes: Uint8Array.of(1, 2, 3),
  track: {
    kind: 'video',
    trackId: 1,
    timescale: 30_000,
    codecs: 'avc1.64001F',
    defaults: { durationTicks: 0, sizeBytes: 0, flags: 0 },
    width: 640,
    height: 360,
  },
});

describe('PartPublisher', () => {
  let sink: PartSink;
  let publishers: PartPublisher[];
  let registry: Registry;
  let fatal: TranscodeError[];

  beforeEach(async () => {
    sink = await PartSink.start();
    publishers = [];
    registry = new Registry();
    fatal = [];
  });
  afterEach(async () => {
    await Promise.all(publishers.map((publisher) => publisher.close()));
    await sink.close();
  });

  const publisherTo = (originUrls: readonly string[], limits: Partial<UploadLimits> = {}): PartPublisher => {
    const publisher = new PartPublisher(
      { originUrls, ingestToken: 'token', timelineDeadlineMs: 1_500, upload: { ...LIMITS, ...limits } },
      GRANT,
      { clock: systemClock, logger: createLogger('test', 'silent'), metrics: new TranscodeMetrics(registry) },
      (error) => fatal.push(error),
    );
    publishers.push(publisher);
    return publisher;
  };
  const begun = async (...args: Parameters<typeof publisherTo>): Promise<PartPublisher> => {
    const publisher = publisherTo(...args);
    await publisher.beginTimeline(REQUEST, RENDITIONS, new AbortController().signal);
    return publisher;
  };
  const valueOf = async (name: string): Promise<number> =>
    ((await registry.getSingleMetric(name)?.get())?.values ?? []).reduce((sum, one) => sum + one.value, 0);
  const numbersOf = (renditionId: string): string[] =>
    sink.partsOf(renditionId).map((one) => `${one.msn - (sink.timelines[0]?.firstMsn ?? 0)}.${one.part}`);

  it('puts every part under its number, in order, with what the contract wants', async () => {
    const publisher = await begun([sink.url]);
    for (const id of ['720p', 'audio']) publisher.publishInit(initOf(id));
    for (let index = 0; index < 13; index++) {
      publisher.publishPart(part('720p', index), 'video');
      publisher.publishPart(part('audio', index), 'audio');
    }
    await publisher.drain(5_000);
    expect(sink.timelines).toMatchObject([{ fencingToken: 7, anchorUtcMs: REQUEST.anchorUtcMs }]);
    const expected = [0, 1].flatMap((segment) => [0, 1, 2, 3, 4, 5].map((one) => `${segment}.${one}`));
    expect(numbersOf('720p')).toEqual([...expected, '2.0']);
    expect(numbersOf('audio')).toEqual([...expected, '2.0']);
    expect(sink.requests.find((path) => path.includes('720p'))).toBe('/ingest/v1/demo/720p/init-0.mp4');
    expect(sink.partsOf('720p')[5]).toMatchObject({
      sessionId: GRANT.sessionId,
      fencingToken: 7,
      timeline: 0,
      startTicks: 50_000,
      durationTicks: 10_000,
      independent: false,
      last: true,
      gap: false,
    });
    expect(sink.connections).toBeLessThanOrEqual(4);
    expect(await valueOf('transcoder_upload_queue_items')).toBe(0);
  });

  it('signs the body with its digest', async () => {
    const publisher = await begun([sink.url]);
    publisher.publishPart(part('720p', 3), 'video');
    await publisher.drain(5_000);
    const bytes = sink.parts[0]?.bytes ?? Buffer.alloc(0);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(
      createHash('sha256').update(part('720p', 3).bytes).digest('hex'),
    );
  });

  it('repeats what fails, without overtaking within a rendition', async () => {
    const failures = new Map<string, number>();
    sink.answer = (path) => {
      const count = failures.get(path) ?? 0;
      failures.set(path, count + 1);
      return path.includes('720p') && count < 2 ? { status: 503 } : undefined;
    };
    const publisher = await begun([sink.url]);
    for (let index = 0; index < 4; index++) publisher.publishPart(part('720p', index), 'video');
    await publisher.drain(5_000);
    expect(numbersOf('720p')).toEqual(['0.0', '0.1', '0.2', '0.3']);
    expect(await valueOf('transcoder_put_retries_total')).toBe(8);
  });

  it('ends an attempt that hangs and tries again', async () => {
    let hangs = 1;
    sink.answer = () => (hangs-- > 0 ? { delayMs: 60_000 } : undefined);
    const publisher = await begun([sink.url], { attemptTimeoutMs: 150 });
    publisher.publishPart(part('720p', 0), 'video');
    await publisher.drain(5_000);
    expect(numbersOf('720p')).toEqual(['0.0']);
  });

  it('gives up the cheapest rendition first when the network is slow, and marks the holes', async () => {
    const held = new Set<string>();
    sink.answer = (path) => {
      const rendition = path.split('/')[4] ?? '';
      if (held.has(rendition)) return undefined;
      held.add(rendition);
      return { delayMs: 300 };
    };
    const publisher = await begun([sink.url], { bytesMax: 50_000 });
    for (let index = 0; index < 6; index++)
      for (const id of ['720p', '360p', 'audio'])
        publisher.publishPart(
          part(id, index, id === 'audio' ? 500 : 8_000),
          id === 'audio' ? 'audio' : 'video',
        );
    expect(publisher.queuedBytes).toBeLessThanOrEqual(50_000);
    await publisher.drain(5_000);
    const gapsOf = (id: string): number => sink.partsOf(id).filter((one) => one.gap).length;
    expect(numbersOf('360p')).toEqual(['0.0', '0.1', '0.2', '0.3', '0.4', '0.5']);
    expect(gapsOf('360p')).toBe(5);
    expect(gapsOf('720p')).toBe(2);
    expect(gapsOf('audio')).toBe(0);
    expect(sink.parts.filter((one) => one.gap).every((one) => one.bytes.length === 0)).toBe(true);
    expect(await valueOf('transcoder_parts_dropped_total')).toBe(7);
  });

  it('never holds more than its limits while the origin is away, and goes on when it is back', async () => {
    const publisher = await begun([sink.url], { bytesMax: 20_000, itemsPerRenditionMax: 8 });
    const { port } = sink;
    await sink.close();
    for (let index = 0; index < 200; index++) {
      publisher.publishPart(part('720p', index), 'video');
      expect(publisher.queuedBytes).toBeLessThanOrEqual(20_000);
    }
    expect(await valueOf('transcoder_upload_queue_items')).toBe(8);
    const before = sink.timelines[0];
    sink = await PartSink.start(port);
    publisher.publishPart(part('720p', 200), 'video');
    await publisher.drain(5_000);
    expect(sink.partsOf('720p').at(-1)).toMatchObject({
      msn: (before?.firstMsn ?? 0) + 33,
      part: 2,
      gap: false,
    });
  });

  it('marks a part that the origin refuses as a gap and goes on', async () => {
    sink.answer = (path) =>
      path.endsWith('.1.m4s') && !sink.requests.slice(0, -1).includes(path)
        ? { status: 422, code: 'part_invalid' }
        : undefined;
    const publisher = await begun([sink.url]);
    for (let index = 0; index < 3; index++) publisher.publishPart(part('720p', index), 'video');
    await publisher.drain(5_000);
    expect(sink.partsOf('720p').map((one) => one.gap)).toEqual([false, true, false]);
    expect(fatal).toEqual([]);
  });

  it('forgets a part that is in conflict, with its gap', async () => {
    sink.answer = (path) => (path.endsWith('.1.m4s') ? { status: 409, code: 'part_conflict' } : undefined);
    const publisher = await begun([sink.url]);
    for (let index = 0; index < 3; index++) publisher.publishPart(part('720p', index), 'video');
    await publisher.drain(5_000);
    expect(numbersOf('720p')).toEqual(['0.0', '0.2']);
    expect(fatal).toEqual([]);
  });

  it('asks for a new timeline when the origin refuses everything', async () => {
    sink.answer = () => ({ status: 422, code: 'part_invalid' });
    const publisher = await begun([sink.url]);
    for (let index = 0; index < 20; index++) publisher.publishPart(part('720p', index), 'video');
    await waitFor('the verdict', () => fatal.length > 0);
    expect(fatal.map((error) => error.code)).toEqual(['timeline_lost']);
  });

  it.each([
    [410, 'session_ended', 'session_over'],
    [409, 'fencing_token_stale', 'session_over'],
    [401, 'unauthorized', 'origin_refused'],
    [404, 'session_not_found', 'timeline_lost'],
  ])('stops for good at %d %s', async (status, code, expected) => {
    sink.answer = () => ({ status, code });
    const publisher = await begun([sink.url]);
    for (let index = 0; index < 20; index++) publisher.publishPart(part('720p', index), 'video');
    await waitFor('the verdict', () => fatal.length > 0);
    const asked = sink.requests.length;
    publisher.publishPart(part('720p', 21), 'video');
    await publisher.drain(5_000);
    expect(fatal.map((error) => error.code)).toEqual([expected]);
    expect(sink.requests.length).toBe(asked);
    expect(publisher.queuedBytes).toBe(0);
  });

  describe('where several origins hold the stream', () => {
    let other: PartSink;
    beforeEach(async () => {
      other = await PartSink.start();
    });
    afterEach(() => other.close());
    const hold = (version: number, ...sinks: PartSink[]): void => {
      for (const one of [sink, other]) one.holders = { version, origins: sinks.map(({ url }) => url) };
    };
    const publishAll = async (publisher: PartPublisher, from: number, to: number): Promise<void> => {
      for (let index = from; index < to; index++) publisher.publishPart(part('720p', index), 'video');
      await publisher.drain(2_000);
    };

    it('puts the parts to those that the grant names, not to those that were asked', async () => {
      hold(1, other);
      const publisher = await begun([sink.url]);
      await publishAll(publisher, 0, 3);
      expect(sink.parts).toEqual([]);
      expect(other.parts).toHaveLength(3);
    });

    it('goes on with one when the other takes no more, and gives up when none does', async () => {
      hold(1, sink, other);
      const publisher = await begun([sink.url]);
      other.answer = () => ({ status: 404, code: 'session_not_found' });
      await publishAll(publisher, 0, 6);
      expect(fatal).toEqual([]);
      expect(sink.parts).toHaveLength(6);
      expect(await valueOf('transcoder_origins_lost_total')).toBe(1);
      sink.answer = () => ({ status: 410, code: 'session_ended' });
      await publishAll(publisher, 6, 7);
      expect(fatal).toMatchObject([{ code: 'session_over' }]);
    });

    it('follows the newest word of who holds it', async () => {
      hold(1, sink);
      const publisher = await begun([sink.url]);
      await publishAll(publisher, 0, 2);
      hold(2, sink, other);
      await publishAll(publisher, 2, 3);
      await publishAll(publisher, 3, 5);
      expect(other.parts.map(({ part: number }) => number)).toEqual([3, 4]);
      hold(1, sink);
      await publishAll(publisher, 5, 6);
      hold(3, other);
      await publishAll(publisher, 6, 7);
      await publishAll(publisher, 7, 8);
      expect(sink.parts.at(-1)).toMatchObject({ part: 0 });
      expect(other.parts.at(-1)).toMatchObject({ part: 1 });
      expect(other.parts).toHaveLength(5);
    });

    it('is not held up by one that is dead', async () => {
      hold(1, sink, other);
      const publisher = await begun([sink.url]);
      await other.close();
      const startMs = performance.now();
      for (let index = 0; index < 3; index++) publisher.publishPart(part('720p', index), 'video');
      await publisher.drain(10_000);
      expect(sink.parts).toHaveLength(3);
      expect(performance.now() - startMs).toBeLessThan(5_000);
    });
  });

  it('sends the same parts to every origin; a slow one does not delay the others', async () => {
    const slow = await PartSink.start();
    slow.answer = () => ({ delayMs: 400 });
    const publisher = await begun([sink.url, slow.url]);
    for (let index = 0; index < 3; index++) publisher.publishPart(part('720p', index), 'video');
    await waitFor('the parts at the fast origin', () => sink.parts.length === 3);
    expect(slow.parts.length).toBe(0);
    await publisher.drain(5_000);
    expect(slow.partsOf('720p').map((one) => one.bytes.toString('hex'))).toEqual(
      sink.partsOf('720p').map((one) => one.bytes.toString('hex')),
    );
    await slow.close();
  });

  describe('beginTimeline', () => {
    const codeOf = async (publisher: PartPublisher): Promise<string> => {
      try {
        await publisher.beginTimeline(REQUEST, RENDITIONS, new AbortController().signal);
      } catch (error) {
        return error instanceof TranscodeError ? error.code : String(error);
      }
      return 'no error';
    };

    it('asks again until an origin answers', async () => {
      let failures = 2;
      sink.answerCall = () => (failures-- > 0 ? { status: 503 } : undefined);
      expect(await codeOf(publisherTo([sink.url]))).toBe('no error');
      expect(sink.requests.length).toBe(3);
    });

    it('asks the next origin when the first is away', async () => {
      const away = await PartSink.start();
      const awayUrl = away.url;
      await away.close();
      expect(await codeOf(publisherTo([awayUrl, sink.url]))).toBe('no error');
    });

    it.each([
      [410, 'session_ended', 'session_over'],
      [409, 'fencing_token_stale', 'session_over'],
      [401, 'unauthorized', 'origin_refused'],
      [404, 'session_not_found', 'origin_refused'],
      [400, 'presentation_invalid', 'origin_refused'],
    ])('ends at once at %d %s', async (status, code, expected) => {
      sink.answerCall = () => ({ status, code });
      expect(await codeOf(publisherTo([sink.url]))).toBe(expected);
      expect(sink.requests.length).toBe(1);
    });

    it('gives up by its deadline', async () => {
      sink.answerCall = () => ({ status: 503 });
      expect(await codeOf(publisherTo([sink.url]))).toBe('origin_unreachable');
    });
  });

  it('tells every origin of a session that is given up', async () => {
    await publisherTo([sink.url]).giveUp(new AbortController().signal);
    expect(sink.ends).toEqual([{ sessionId: GRANT.sessionId, fencingToken: 7, reason: 'error' }]);
  });
});

describe('byPriority', () => {
  it('gives up the cheapest video first and audio last', () => {
    expect(byPriority(RENDITIONS)).toEqual(['360p', '720p', 'audio']);
  });
});
