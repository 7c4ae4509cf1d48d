import { describe, expect, it, vi } from 'vitest';
import { FRESH_AFTER_PARTS } from '#origin/live/part-freshness.ts';
import { TestPublisher, createTestOrigin } from '#origin/live/testing/test-publisher.ts';

const never = { signal: new AbortController().signal };
const FULL = { block: undefined, form: 'full' } as const;
/** Four parts of the test's presentation are less than its target duration. */
const LIMIT_MS = 2_000;
const stale = { status: 404, code: 'stream_stale' };

/** An origin of two whose stream is shown, and who can be cut off from the publisher. */
function startOne(isLastOrigin = false) {
  const others = { isLast: isLastOrigin };
  const origin = createTestOrigin({}, { isLastOrigin: () => others.isLast });
  const publisher = new TestPublisher(origin).begin().putSegments(2);
  const { playback } = publisher.stream;
  const next = () => {
    const { msn, part } = publisher.next;
    return playback.playlist('720p', { block: { msn, part }, form: 'full' }, never);
  };
  const outcome = (held: Promise<unknown>): Promise<unknown> =>
    held.then(
      () => 'answered',
      (error: unknown) => error,
    );
  return { origin, publisher, playback, next, outcome, others };
}

describe('a stream whose parts do not come, though its session lives', () => {
  it('sends away who waits, after a target duration', async () => {
    const { origin, publisher, playback, next, outcome } = startOne();
    const { msn } = publisher.next;
    const held = [
      next(),
      playback.part('audio', msn, 0, never),
      playback.playlist('360p', { block: { msn: msn + 1, part: undefined }, form: 'full' }, never),
    ].map(outcome);
    await vi.waitFor(() => expect(publisher.stream.status.waiters).toBe(3));
    origin.clock.advance(LIMIT_MS - 2);
    expect(publisher.stream.status).toMatchObject({ waiters: 3, isStale: false });
    origin.clock.advance(2);
    for (const each of held) expect(await each).toMatchObject(stale);
    expect(publisher.stream.status).toMatchObject({ waiters: 0, isStale: true, state: 'live' });
    const { values } = await origin.streams.metrics.waits.get();
    expect(values).toMatchObject([{ labels: { outcome: 'stale' }, value: 3 }]);
    expect((await origin.streams.metrics.staleStreams.get()).values[0]?.value).toBe(1);
  });

  it('answers new requests at once, and says since when', async () => {
    const { origin, publisher, playback, next } = startOne();
    origin.clock.advance(LIMIT_MS + 500);
    const headers = { 'x-last-part-age': '2.500', 'cache-control': 'public, max-age=1' };
    await expect(next()).rejects.toMatchObject({ ...stale, headers });
    await expect(playback.multivariant(never)).rejects.toMatchObject(stale);
    await expect(playback.playlist('audio', FULL, never)).rejects.toMatchObject(stale);
    const { msn, part } = publisher.next;
    await expect(playback.part('720p', msn, part, never)).rejects.toMatchObject(stale);
    expect(publisher.stream.status.waiters).toBe(0);
  });

  it('serves the media that it has', async () => {
    const { origin, publisher, playback } = startOne();
    origin.clock.advance(LIMIT_MS);
    const { firstMsn, timeline } = publisher.grant;
    expect(playback.segment('720p', firstMsn).media.bytes.length).toBeGreaterThan(0);
    await expect(playback.part('720p', firstMsn + 1, 5, never)).resolves.toMatchObject({ kind: 'video' });
    await expect(playback.init('720p', timeline, never)).resolves.toMatchObject({ kind: 'video' });
  });

  it('is shown again after three parts in a row', async () => {
    const { origin, publisher, playback } = startOne();
    origin.clock.advance(LIMIT_MS);
    for (let part = 0; part < FRESH_AFTER_PARTS; part++) {
      await expect(playback.multivariant(never)).rejects.toMatchObject(stale);
      publisher.putCells(1);
    }
    await expect(playback.multivariant(never)).resolves.toMatchObject({ freshness: 'plain' });
    expect((await origin.streams.metrics.staleStreams.get()).values[0]?.value).toBe(0);
    expect((await origin.streams.metrics.staleTurns.get()).values[0]?.value).toBe(1);
  });

  it('is not shown again for parts that come one by one', async () => {
    const { origin, publisher, playback } = startOne();
    for (let part = 0; part < FRESH_AFTER_PARTS + 1; part++) {
      origin.clock.advance(LIMIT_MS);
      publisher.putCells(1, ['720p']);
      await expect(playback.multivariant(never)).rejects.toMatchObject(stale);
    }
  });

  it('is alive while any rendition gets media, and not for gaps', async () => {
    const { publisher, playback } = startOne();
    publisher.putCells(12, ['audio']);
    await expect(playback.multivariant(never)).resolves.toBeDefined();
    for (let cell = 0; cell < 7; cell++) {
      const gap = { ...publisher.next, gap: true, startTicks: 0, durationTicks: 0 };
      for (const id of ['audio', '720p', '360p']) publisher.put(id, gap);
      publisher.loseCells(1);
    }
    await expect(playback.multivariant(never)).rejects.toMatchObject(stale);
  });

  it('keeps its viewers when there is nowhere else to go, until there is', async () => {
    const { origin, publisher, playback, next, outcome, others } = startOne(true);
    const held = outcome(next());
    await vi.waitFor(() => expect(publisher.stream.status.waiters).toBe(1));
    origin.clock.advance(LIMIT_MS + 1_000);
    expect(publisher.stream.status).toMatchObject({ waiters: 1, isStale: true });
    await expect(playback.multivariant(never)).resolves.toBeDefined();
    others.isLast = false;
    origin.clock.advance(publisher.presentation.partTargetMs);
    expect(await held).toMatchObject(stale);
    await expect(next()).rejects.toMatchObject(stale);
    others.isLast = true;
    await expect(playback.playlist('720p', FULL, never)).resolves.toBeDefined();
  });

  it('is not stale when the session is over: gaps keep the cadence', async () => {
    const { origin, publisher, playback, next } = startOne();
    origin.clock.advance(LIMIT_MS);
    origin.streams.sessionEnded('show', publisher.sessionId, 'lost');
    await expect(playback.multivariant(never)).resolves.toBeDefined();
    await expect(next()).resolves.toBeDefined();
    origin.clock.advance(10_000);
    await expect(playback.multivariant(never)).resolves.toBeDefined();
    // The next session has its own two seconds.
    const second = new TestPublisher(origin, { fencingToken: 2 }).begin();
    origin.clock.advance(LIMIT_MS - 2);
    expect(second.stream.status.isStale).toBe(false);
    origin.clock.advance(2);
    expect(second.stream.status.isStale).toBe(true);
  });

  it('leaves no timer behind', () => {
    const { origin } = startOne();
    origin.clock.advance(LIMIT_MS);
    origin.streams.remove('show');
    expect(origin.clock.pendingCount).toBe(0);
  });
});
