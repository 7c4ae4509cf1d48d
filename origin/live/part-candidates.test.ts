import { beforeEach, describe, expect, it } from 'vitest';
import type { PartUpload } from '#protocol/ingest/part-upload.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { WAITING_PARTS_MAX } from '#origin/live/part-candidates.ts';
import type { PartOutcome } from '#origin/live/part-placement.ts';
import { PIPELINES_MAX } from '#origin/live/pipeline-roll.ts';
import {
  makeInit,
  makePart,
  makePresentation,
  videoRendition,
} from '#origin/live/testing/synthetic-media.ts';
import { TestPublisher, createTestOrigin, type TestOrigin } from '#origin/live/testing/test-publisher.ts';

const ID = '720p';
const presentation = makePresentation({ renditions: [videoRendition(ID, 3_000_000)] });
const { partTargetMs, partsPerSegment } = presentation;
const never = { signal: new AbortController().signal };
const conflict = (code = 'part_conflict') => expect.objectContaining({ status: 409, code });

let origin: TestOrigin;
let pair: TestPublisher;

beforeEach(() => {
  origin = createTestOrigin();
  pair = new TestPublisher(origin, { presentation }).begin();
  origin.clock.advance(10_000);
});

/** The pipelines of the pair have the same init segment. */
function putInits(...pipelines: readonly string[]): void {
  for (const pipeline of pipelines) putInit(pipeline);
}

function putInit(pipeline: string, timeline = pair.grant.timeline): PartOutcome {
  const writer = { ...pair.upload(ID), timeline: pair.grant.timeline, pipeline };
  return pair.stream.storeInit(ID, writer, makeInit(pair.rendition(ID), timeline));
}

/** Puts the copy that a pipeline has of the part of a cell. */
function put(pipeline: string, cell: number, changes: Partial<PartUpload> = {}, label = ''): PartOutcome {
  const place = {
    msn: pair.grant.firstMsn + Math.floor(cell / partsPerSegment),
    part: cell % partsPerSegment,
  };
  const upload = {
    ...pair.upload(ID, place),
    independent: place.part === 0,
    last: place.part === partsPerSegment - 1,
    pipeline,
    ...changes,
  };
  return pair.stream.storePart(ID, upload, upload.gap ? new Uint8Array() : copyOf(pipeline, upload, label));
}

function copyOf(pipeline: string, upload: PartUpload, label = ''): Uint8Array<ArrayBuffer> {
  const { startTicks, durationTicks, independent, msn, part } = upload;
  return makePart({ startTicks, durationTicks, independent, label: `${pipeline} ${msn}.${part} ${label}` });
}

/** Whose copies are listed, cell by cell; `-` is a gap. */
async function listed(): Promise<string> {
  const { lastMsn, lastPart } = pair.stream.status.renditions[0] ?? { lastMsn: 0, lastPart: 0 };
  const cells = (lastMsn - pair.grant.firstMsn) * partsPerSegment + lastPart + 1;
  const owners = Array.from({ length: cells }, async (_, cell) => {
    const msn = pair.grant.firstMsn + Math.floor(cell / partsPerSegment);
    try {
      const { media } = await pair.stream.playback.part(ID, msn, cell % partsPerSegment, never);
      return /([a-z]) \d+\.\d/.exec(new TextDecoder().decode(media.bytes))?.[1];
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'part_gap') return '-';
      throw error;
    }
  });
  return (await Promise.all(owners)).join('');
}

describe('of two pipelines', () => {
  it('the first valid copy of each part is listed, the second is dropped', async () => {
    putInits('a', 'b');
    expect(put('a', 0)).toBe('stored');
    expect(put('b', 0)).toBe('superseded');
    expect(put('b', 0)).toBe('repeated');
    expect(put('a', 0)).toBe('repeated');
    expect(put('a', 1)).toBe('stored');
    expect(put('b', 1)).toBe('superseded');
    expect(await listed()).toBe('aa');
    const { values } = await origin.streams.metrics.partsStored.get();
    expect(Object.fromEntries(values.map(({ labels, value }) => [labels.outcome, value]))).toEqual({
      stored: 2,
      superseded: 2,
      repeated: 2,
    });
  });

  it('the one that began a segment is kept to its end while it meets its deadline', async () => {
    putInits('a', 'b');
    put('a', 0);
    expect(put('b', 0)).toBe('superseded');
    for (let cell = 1; cell < partsPerSegment; cell++) {
      expect(put('b', cell)).toBe('waiting');
      origin.clock.advance(partTargetMs - 1);
      expect(put('a', cell)).toBe('stored');
    }
    expect(await listed()).toBe('aaaaaa');
    // At the next segment the first one is taken again.
    expect(put('b', 6)).toBe('stored');
    expect(put('a', 6)).toBe('superseded');
    expect(put('a', 7)).toBe('waiting');
  });

  it('the other takes over for the rest of the segment when a deadline is missed', async () => {
    putInits('a', 'b');
    put('a', 0);
    put('b', 0);
    expect(put('b', 1)).toBe('waiting');
    origin.clock.advance(partTargetMs - 1);
    expect(await listed()).toBe('a');
    origin.clock.advance(1);
    expect(await listed()).toBe('ab');
    expect(put('b', 2)).toBe('stored');
    expect(put('a', 1)).toBe('superseded');
    expect(put('a', 2)).toBe('superseded');
    expect(put('a', 3)).toBe('waiting');
    expect(put('b', 3)).toBe('stored');
    expect(await listed()).toBe('abbb');
  });

  it('a part that comes late leaves its pipeline less time', async () => {
    putInits('a', 'b');
    put('a', 0);
    origin.clock.advance(pair.cellMs + partTargetMs);
    // Expected long ago: the other copy is as late as it may be.
    expect(put('b', 1)).toBe('stored');
    expect(await listed()).toBe('ab');
  });

  it('one that has passed the place is not waited for', async () => {
    putInits('a', 'b');
    put('a', 0);
    expect(put('a', 2)).toBe('waiting');
    expect(put('b', 0)).toBe('superseded');
    expect(put('b', 1)).toBe('stored');
    expect(await listed()).toBe('aba');
    expect(put('a', 4)).toBe('waiting');
    // Neither has the part between.
    expect(put('b', 4)).toBe('superseded');
    expect(await listed()).toBe('aba-a');
  });

  it('one that says that it has no such part gives way to the other', async () => {
    putInits('a', 'b');
    put('a', 0);
    expect(put('a', 1, { gap: true, startTicks: 0, durationTicks: 0 })).toBe('waiting');
    expect(put('b', 1)).toBe('stored');
    expect(put('b', 2, { gap: true, startTicks: 0, durationTicks: 0 })).toBe('waiting');
    expect(put('a', 2, { gap: true, startTicks: 0, durationTicks: 0 })).toBe('superseded');
    expect(await listed()).toBe('ab-');
  });

  it('neither has a part by its deadline: it becomes a gap, and later parts are listed', async () => {
    putInits('a', 'b');
    put('a', 0);
    put('b', 0);
    origin.clock.advance(pair.cellMs);
    expect(put('a', 2)).toBe('waiting');
    origin.clock.advance(partTargetMs - 1);
    expect(await listed()).toBe('a');
    origin.clock.advance(1);
    expect(await listed()).toBe('a-a');
    expect(() => put('b', 1)).toThrow(conflict());
    expect(put('b', 2)).toBe('superseded');
  });

  it('one that is silent for two target durations is not waited for', async () => {
    putInits('a', 'b');
    put('a', 0);
    put('b', 0);
    origin.clock.advance(4_001);
    expect(put('b', 1)).toBe('stored');
    expect(put('b', 3)).toBe('stored');
    expect(await listed()).toBe('ab-b');
  });

  it('other bytes of the same pipeline are refused, listed or waiting', async () => {
    putInits('a', 'b');
    put('a', 0);
    expect(() => put('a', 0, {}, 'other')).toThrow(conflict());
    put('b', 0);
    expect(() => put('b', 0, {}, 'other')).toThrow(conflict());
    put('b', 1);
    expect(() => put('b', 1, {}, 'other')).toThrow(conflict());
    expect(() => put('b', 1, { gap: true })).toThrow(conflict());
    expect(put('b', 1)).toBe('repeated');
    expect(await listed()).toBe('a');
  });

  it('what waits is listed when the session ends, and when another timeline begins', async () => {
    putInits('a', 'b');
    for (let cell = 0; cell < 6; cell++) put('a', cell);
    put('b', 5);
    put('a', 7);
    expect(put('a', 8)).toBe('waiting');
    origin.streams.sessionEnded('show', pair.sessionId, 'revoked');
    expect(await listed()).toBe('aaaaaa---');
    const { firstMsn } = pair.grant;
    pair = new TestPublisher(origin, { presentation, fencingToken: 2 }).begin();
    expect(pair.grant.firstMsn).toBeGreaterThan(firstMsn);
    putInits('a', 'b');
    put('a', 0);
    put('b', 1);
    pair.begin();
    const playlist = pair.playlist(ID);
    expect(playlist).toContain('.1.m4s');
    expect(playlist).not.toContain('.1.m4s",GAP');
  });

  it('what waits is bounded: too much of it makes a gap of what is waited for', async () => {
    putInits('a', 'b');
    put('a', 0);
    for (let waiting = 0; waiting < WAITING_PARTS_MAX; waiting++)
      expect(put('a', 2 + waiting)).toBe('waiting');
    expect(await listed()).toBe('a');
    put('a', 2 + WAITING_PARTS_MAX);
    expect(await listed()).toBe(`a-${'a'.repeat(WAITING_PARTS_MAX + 1)}`);
  });

  it('bytes that wait are counted, and counted once when they are listed', async () => {
    putInits('a', 'b');
    put('a', 0);
    const size = copyOf('a', pair.upload(ID, { part: 0 })).length;
    put('b', 0);
    put('b', 1);
    expect(pair.stream.status.windowBytes).toBe(2 * size);
    put('a', 1);
    expect(pair.stream.status.windowBytes).toBe(2 * size);
    origin.streams.remove('show');
    const { values } = await origin.streams.metrics.windowBytes.get();
    expect(values[0]?.value).toBe(0);
    expect(origin.clock.pendingCount).toBe(0);
  });
});

describe('init segments of two pipelines', () => {
  it('are the same, byte for byte', () => {
    expect(putInit('a')).toBe('repeated');
    expect(putInit('b')).toBe('repeated');
    expect(put('b', 0)).toBe('stored');
  });

  it('differ: the second pipeline is not used in this timeline', async () => {
    putInit('a');
    expect(() => putInit('b', 1)).toThrow(conflict('init_mismatch'));
    expect(() => put('b', 0)).toThrow(conflict('init_mismatch'));
    expect(() => pair.stream.assertAcceptable(ID, pair.upload(ID, { pipeline: 'b' }))).toThrow(
      conflict('init_mismatch'),
    );
    // That it now says otherwise does not make its parts fit.
    expect(() => putInit('b')).toThrow(conflict('init_mismatch'));
    expect(put('a', 0)).toBe('stored');
    expect(put('a', 2)).toBe('stored');
    expect(await listed()).toBe('a-a');
    pair.begin();
    expect(putInit('b')).toBe('repeated');
  });

  it('of the same pipeline differ: the first is kept', () => {
    putInit('a');
    expect(() => putInit('a', 1)).toThrow(conflict());
    expect(put('a', 0)).toBe('stored');
  });

  it('comes before the parts of each pipeline', () => {
    putInit('a');
    expect(() => put('b', 0)).toThrow(expect.objectContaining({ status: 422, code: 'part_invalid' }));
    putInit('b');
    expect(put('b', 0)).toBe('stored');
  });

  it('are of a few pipelines at most', () => {
    for (let pipeline = 1; pipeline < PIPELINES_MAX; pipeline++) putInit(`p${pipeline}`);
    expect(() => putInit('one-more')).toThrow(conflict('pipelines_exhausted'));
  });
});
