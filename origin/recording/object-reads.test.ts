import { describe, expect, it } from 'vitest';
import { createMetrics } from '#runtime/metrics.ts';
import { ObjectStoreError, type ObjectCall, type StoredObject } from '#runtime/objects/object-store.ts';
import { ClientGoneError } from '#origin/live/held-requests.ts';
import { ObjectReads } from '#origin/recording/object-reads.ts';
import { RecordingMetrics } from '#origin/recording/recording-metrics.ts';

const LIMITS = { readsMax: 2, readersMax: 5, cacheBytesMax: 250 };

function setUp() {
  const reads: {
    key: string;
    signal: AbortSignal | undefined;
    answer: PromiseWithResolvers<StoredObject | undefined>;
  }[] = [];
  const store = {
    get: (key: string, call: ObjectCall = {}) => {
      const answer = Promise.withResolvers<StoredObject | undefined>();
      call.signal?.addEventListener('abort', () => answer.reject(new ObjectStoreError('aborted', 'aborted')));
      reads.push({ key, signal: call.signal, answer });
      return answer.promise;
    },
  };
  const metrics = new RecordingMetrics(createMetrics('test'));
  const objects = new ObjectReads(LIMITS, { store, metrics });
  const give = (index: number, size = 100): void =>
    reads[index]?.answer.resolve({ bytes: new Uint8Array(size) });
  const client = () => {
    const abort = new AbortController();
    return { signal: abort.signal, leave: () => abort.abort() };
  };
  return { reads, objects, give, client };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('ObjectReads', () => {
  it('reads an object once for all who want it, and then from memory', async () => {
    const { reads, objects, give, client } = setUp();
    const answers = [1, 2, 3].map(() => objects.read('a/1', client()));
    give(0);
    const bytes = await Promise.all(answers);
    expect(reads).toHaveLength(1);
    expect(bytes[1]).toBe(bytes[0]);
    expect(await objects.read('a/1', client())).toBe(bytes[0]);
    expect(reads).toHaveLength(1);
  });

  it('keeps no more than it may, those that were used last', async () => {
    const { reads, objects, give, client } = setUp();
    for (const [index, key] of ['a/1', 'a/2', 'a/3'].entries()) {
      const answer = objects.read(key, client());
      give(index);
      await answer;
    }
    await objects.read('a/3', client());
    expect(reads).toHaveLength(3);
    const again = objects.read('a/1', client());
    expect(reads).toHaveLength(4);
    give(3);
    await again;
  });

  it('refuses more than it may read at once, so that live viewers come first', async () => {
    const { objects, give, client } = setUp();
    const answers = ['a/1', 'a/2'].map((key) => objects.read(key, client()));
    await expect(objects.read('a/3', client())).rejects.toMatchObject({
      status: 503,
      code: 'recording_busy',
    });
    give(0);
    give(1);
    await Promise.all(answers);
  });

  it('ends a read that nobody waits for any more, and only that', async () => {
    const { reads, objects, client } = setUp();
    const [one, two] = [client(), client()];
    const answers = [objects.read('a/1', one), objects.read('a/1', two)];
    one.leave();
    await expect(answers[0]).rejects.toBeInstanceOf(ClientGoneError);
    expect(reads[0]?.signal?.aborted).toBe(false);
    two.leave();
    await expect(answers[1]).rejects.toBeInstanceOf(ClientGoneError);
    expect(reads[0]?.signal?.aborted).toBe(true);
  });

  it('answers 503 when the store fails, and asks it again the next time', async () => {
    const { reads, objects, give, client } = setUp();
    const answer = objects.read('a/1', client());
    reads[0]?.answer.reject(new ObjectStoreError('unavailable', 'away'));
    await expect(answer).rejects.toMatchObject({ status: 503, code: 'recording_unavailable' });
    await settle();
    const again = objects.read('a/1', client());
    give(1);
    expect(await again).toHaveLength(100);
  });
});
