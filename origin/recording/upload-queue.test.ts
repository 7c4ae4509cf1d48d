import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { ObjectStoreError, type PutOutcome } from '#runtime/objects/object-store.ts';
import { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import { UploadQueue, type Upload } from '#origin/recording/upload-queue.ts';

/** A store that can be away, and remembers what it was given. */
class FakeStore {
  readonly objects = new Map<string, Uint8Array>();
  isAway = false;
  attempts = 0;
  underWay = 0;
  mostUnderWay = 0;

  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<PutOutcome> {
    this.attempts += 1;
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    await turn();
    this.underWay -= 1;
    if (this.isAway) throw new ObjectStoreError('unavailable', 'away');
    if (this.objects.has(key)) return 'exists';
    this.objects.set(key, bytes);
    return 'stored';
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
async function turns(count = 20): Promise<void> {
  for (let index = 0; index < count; index++) await turn();
}

const LIMITS = { queueBytesMax: 1_000, queueAgeMaxMs: 3_600_000, uploadsMax: 4 };

function setUp(limits: Partial<typeof LIMITS> = {}) {
  const clock = new FakeClock();
  const store = new FakeStore();
  const metrics = new RecordingMetrics(createMetrics('test'));
  const queue = new UploadQueue(
    { ...LIMITS, ...limits },
    { clock, store, metrics, logger: createLogger('test', 'silent'), random: () => 1 },
  );
  const settled: string[] = [];
  const upload = (key: string, isSpooled: boolean, bytes = new Uint8Array(100)): Upload => ({
    key,
    bytes,
    spooled: Promise.resolve(isSpooled),
    load: () => Promise.resolve(isSpooled ? bytes : undefined),
    settled: (outcome) => settled.push(`${key} ${outcome}`),
  });
  const lost = async (): Promise<number> =>
    (await metrics.lost.get()).values.reduce((sum, { value }) => sum + value, 0);
  return { clock, store, metrics, queue, settled, upload, lost };
}

describe('UploadQueue', () => {
  it('brings objects to the store, a few at a time', async () => {
    const { queue, store, settled, upload } = setUp();
    for (let index = 0; index < 20; index++) queue.push(upload(`a/${index}`, true));
    await turns();
    expect(store.objects.size).toBe(20);
    expect(store.mostUnderWay).toBe(4);
    expect(new Set(settled)).toEqual(new Set(Array.from({ length: 20 }, (_, index) => `a/${index} stored`)));
    expect(queue.size).toBe(0);
  });

  it('loses nothing while the store is away for ten minutes, and then needs no more than a minute', async () => {
    const { queue, store, clock, metrics, upload, lost } = setUp();
    store.isAway = true;
    // Three renditions, a segment of each every two seconds.
    for (let elapsedS = 0; elapsedS < 600; elapsedS += 2) {
      for (const id of ['a', 'b', 'c']) queue.push(upload(`${id}/${elapsedS}`, true));
      clock.advance(2_000);
      await turns(3);
    }
    expect(queue.size).toBe(900);
    expect((await metrics.queueBytes.get()).values[0]?.value).toBeLessThanOrEqual(1_000);
    expect(store.attempts).toBeLessThan(200);
    expect(queue.ageS).toBeGreaterThan(590);
    store.isAway = false;
    let neededMs = 0;
    for (; queue.size > 0 && neededMs < 60_000; neededMs += 500) {
      clock.advance(500);
      await turns(200);
    }
    expect(store.objects.size).toBe(900);
    expect(neededMs).toBeLessThan(60_000);
    expect(await lost()).toBe(0);
  });

  it('gives up what is neither in memory nor on disk, the oldest first, and counts it', async () => {
    const { queue, store, settled, upload, lost } = setUp();
    store.isAway = true;
    for (let index = 0; index < 15; index++) {
      queue.push(upload(`a/${index}`, false));
      await turns(2);
    }
    await turns();
    expect(await lost()).toBeGreaterThanOrEqual(5);
    expect(settled[0]).toMatch(/^a\/[01] lost$/);
    expect(queue.size).toBe(15 - (await lost()));
  });

  it('gives up what has waited for too long', async () => {
    const { queue, store, clock, settled, upload } = setUp({ queueAgeMaxMs: 10_000 });
    store.isAway = true;
    queue.push(upload('a/1', true));
    for (let elapsedS = 0; elapsedS < 30; elapsedS++) {
      clock.advance(1_000);
      await turns(3);
    }
    expect(settled).toEqual(['a/1 lost']);
  });

  it('takes an object that is there already for stored', async () => {
    const { queue, store, settled, upload } = setUp();
    store.objects.set('a/1', new Uint8Array(100));
    queue.push(upload('a/1', true));
    await turns();
    expect(settled).toEqual(['a/1 stored']);
  });

  it('forgets what is dropped', async () => {
    const { queue, store, clock, settled, upload } = setUp();
    store.isAway = true;
    queue.push(upload('a/1', true));
    queue.push(upload('b/1', true));
    await turns();
    queue.drop((key) => key.startsWith('a/'));
    expect(queue.has('a/')).toBe(false);
    store.isAway = false;
    clock.advance(10_000);
    await turns();
    expect([...store.objects.keys()]).toEqual(['b/1']);
    expect(settled).toEqual(['b/1 stored']);
  });
});
