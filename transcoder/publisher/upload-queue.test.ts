import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toUploadHeaders } from '#protocol/ingest/part-upload.ts';
import { UploadQueue, type UploadItem } from '#transcoder/publisher/upload-queue.ts';

const LIMITS = { bytesMax: 1000, ageMaxMs: 5000, itemsPerRenditionMax: 10 };
const part = (renditionId: string, index: number, bytes = 100): UploadItem => ({
  renditionId,
  kind: 'part',
  path: `/${renditionId}/${index}`,
  headers: {
    ...toUploadHeaders({
      sessionId: 's',
      fencingToken: 1,
      timeline: 0,
      startTicks: 0,
      durationTicks: 1,
      independent: true,
      last: false,
      gap: false,
      arrivalUtcMs: 0,
    }),
    'content-type': 'video/mp4',
    'content-digest': 'sha-256=:x:',
  },
  body: new Uint8Array(bytes),
  arrivalUtcMs: 1,
});
const init = (renditionId: string): UploadItem => ({ ...part(renditionId, 0, 50), kind: 'init' });

function queueOf(renditionIds: readonly string[], limits = LIMITS) {
  const drops: string[] = [];
  const queue = new UploadQueue(limits, renditionIds, (reason, id) => drops.push(`${reason} ${id}`));
  return { queue, drops };
}

/** Takes out everything that can be taken of a rendition. */
function drain(queue: UploadQueue, renditionId: string, nowMs = 0): string[] {
  const out: string[] = [];
  for (;;) {
    const item = queue.take(renditionId, nowMs);
    if (item === undefined) return out;
    out.push(`${item.path}${item.body === undefined ? ' gap' : ''}`);
    queue.settle(renditionId, 'remove');
  }
}

describe('UploadQueue', () => {
  it('gives one item at a time of each rendition, in order', () => {
    const { queue } = queueOf(['a', 'b']);
    for (const item of [part('a', 1), part('b', 1), part('a', 2)]) queue.push(item, 0);
    expect(queue.take('a', 0)?.path).toBe('/a/1');
    expect(queue.take('a', 0)).toBeUndefined();
    expect(queue.take('b', 0)?.path).toBe('/b/1');
    queue.settle('a', 'keep');
    expect(queue.take('a', 0)?.path).toBe('/a/1');
    queue.settle('a', 'remove');
    expect(queue.take('a', 0)?.path).toBe('/a/2');
    expect(queue).toMatchObject({ items: 2, bytes: 200 });
  });

  it('gives up the parts of the lowest rendition first when there are too many bytes', () => {
    const { queue, drops } = queueOf(['360p', '720p', 'audio']);
    for (let index = 1; index <= 3; index++) {
      queue.push(part('360p', index, 100), 0);
      queue.push(part('720p', index, 250), 0);
    }
    expect(drops).toEqual(['bytes 360p']);
    queue.push(part('audio', 1, 350), 0);
    expect(drops).toEqual(['bytes 360p', 'bytes 360p', 'bytes 360p', 'bytes 720p']);
    expect(queue.bytes).toBeLessThanOrEqual(LIMITS.bytesMax);
    expect(drain(queue, '360p')).toEqual(['/360p/1 gap', '/360p/2 gap', '/360p/3 gap']);
    expect(drain(queue, '720p')).toEqual(['/720p/1 gap', '/720p/2', '/720p/3']);
    expect(drain(queue, 'audio')).toEqual(['/audio/1']);
  });

  it('never gives up what is under way, nor an init segment', () => {
    const { queue } = queueOf(['a', 'b']);
    queue.push(init('a'), 0);
    queue.push(part('b', 1, 600), 0);
    queue.take('b', 0);
    queue.push(part('a', 1, 600), 0);
    expect(queue.take('a', 0)).toMatchObject({ kind: 'init', body: { length: 50 } });
    queue.settle('a', 'remove');
    expect(drain(queue, 'a')).toEqual(['/a/1 gap']);
    queue.settle('b', 'keep');
    expect(drain(queue, 'b')).toEqual(['/b/1']);
  });

  it('turns parts that have become too old into gaps, and drops gaps that are older still', () => {
    const { queue, drops } = queueOf(['a']);
    queue.push(part('a', 1), 0);
    queue.push(part('a', 2), 4000);
    expect(queue.take('a', 5001)).toMatchObject({ path: '/a/1', body: undefined });
    queue.settle('a', 'keep');
    expect(queue.take('a', 10_001)).toMatchObject({ path: '/a/2', body: undefined });
    expect(drops).toEqual(['age a', 'age a']);
    expect(queue.items).toBe(1);
  });

  it('keeps a bounded number of items while nothing can be sent, the newest ones', () => {
    const { queue, drops } = queueOf(['a', 'b']);
    queue.push(init('a'), 0);
    for (let index = 1; index <= 100; index++) queue.push(part('a', index, 0), 0);
    expect(queue.items).toBe(10);
    expect(drops.length).toBe(91);
    expect(drain(queue, 'a').slice(0, 2)).toEqual(['/a/0', '/a/92']);
  });

  it('replaces what the origin refuses by a gap, and forgets a gap that it refuses too', () => {
    const { queue, drops } = queueOf(['a']);
    queue.push(part('a', 1), 0);
    queue.take('a', 0);
    queue.refuse('a');
    const gap = queue.take('a', 0);
    expect(gap).toMatchObject({ path: '/a/1', body: undefined, arrivalUtcMs: undefined });
    expect(gap?.headers).toMatchObject({ 'part-gap': '1', 'part-independent': '0', 'part-duration': '1' });
    expect(gap?.headers).not.toHaveProperty('content-digest');
    queue.refuse('a');
    expect(queue).toMatchObject({ items: 0, bytes: 0 });
    expect(drops).toEqual(['refused a']);
  });

  it('stays within its limits and keeps the order, whatever happens', () => {
    const ids = ['a', 'b', 'c'];
    const anyStep = fc.oneof(
      fc.record({
        do: fc.constant('push'),
        id: fc.constantFrom(...ids),
        bytes: fc.integer({ min: 0, max: 600 }),
      }),
      fc.record({
        do: fc.constantFrom('take', 'keep', 'remove', 'refuse'),
        id: fc.constantFrom(...ids),
        bytes: fc.constant(0),
      }),
      fc.record({ do: fc.constant('wait'), id: fc.constant('a'), bytes: fc.integer({ min: 0, max: 4000 }) }),
    );
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 200 }), (steps) => {
        const { queue } = queueOf(ids);
        const lastTaken = new Map<string, number>();
        const underWay = new Map<string, number>();
        let nowMs = 0;
        let overtaken = false;
        steps.forEach((step, index) => {
          if (step.do === 'wait') nowMs += step.bytes;
          else if (step.do === 'push') queue.push(part(step.id, index, step.bytes), nowMs);
          else if (step.do === 'take') {
            const item = queue.take(step.id, nowMs);
            const number = Number(item?.path.split('/')[2] ?? lastTaken.get(step.id) ?? 0);
            overtaken ||= number < (lastTaken.get(step.id) ?? 0);
            lastTaken.set(step.id, number);
            underWay.set(
              step.id,
              item === undefined ? (underWay.get(step.id) ?? 0) : (item.body?.length ?? 0),
            );
          } else {
            underWay.set(step.id, 0);
            if (step.do === 'refuse') queue.refuse(step.id);
            else queue.settle(step.id, step.do === 'keep' ? 'keep' : 'remove');
          }
          const busy = [...underWay.values()].reduce((sum, bytes) => sum + bytes, 0);
          // What was under way and is kept for another try counts until the next part comes.
          expect(queue.bytes).toBeLessThanOrEqual(LIMITS.bytesMax + busy + 1800);
          expect(queue.items).toBeLessThanOrEqual(3 * LIMITS.itemsPerRenditionMax);
        });
        expect(overtaken).toBe(false);
        queue.push(part('c', 999, 0), nowMs);
        const inFlight = [...underWay.values()].reduce((sum, bytes) => sum + bytes, 0);
        expect(queue.bytes).toBeLessThanOrEqual(Math.max(LIMITS.bytesMax, inFlight));
      }),
    );
  });
});
