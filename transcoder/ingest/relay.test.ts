import { connect } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import { FakeClock } from '#runtime/clock.ts';
import { FLV_SAMPLES, interFrameOf } from '#tests/support/flv-samples.ts';
import { valueOf } from '#tests/support/ingest-under-test.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';
import type { IngestPacket, PublishEnd } from './incoming-publish.ts';
import { createIngestMetrics, type IngestMetrics } from './ingest-metrics.ts';
import { DEFAULT_INGEST_LIMITS } from './ingest-settings.ts';
import { Publish } from './publish.ts';
import { readRelay } from './relay-reader.ts';
import { RelayServer } from './relay-server.ts';
import { RelayedPublish } from './relayed-publish.ts';

const { videoHeader, keyFrame, interFrame } = FLV_SAMPLES;
const SESSION = '00000000-0000-4000-8000-000000000001';
const grant: PublishGrant = {
  sessionId: SESSION,
  streamId: 'a',
  fencingToken: 1,
  segmentDurationMs: 2_000,
  partDurationMs: 333,
  ladder: {},
};
const BACKLOG_BYTES = 4 * 1024 * 1024;

describe('the relay of packets', () => {
  let directory: string;
  let path: string;
  let clock: FakeClock;
  let metrics: IngestMetrics;
  let publish: Publish;
  let server: RelayServer;
  const abort = new AbortController();

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'relay-test-'));
    path = join(directory, 'relay.sock');
    clock = new FakeClock();
    metrics = createIngestMetrics(new Registry());
    const limits = { ...DEFAULT_INGEST_LIMITS, backlogBytesMax: BACKLOG_BYTES };
    const origin = { heartbeat: () => Promise.resolve() };
    publish = new Publish(grant, limits, { clock, metrics, origin, onEnded: () => {} }, () => {});
    const find = (sessionId: string): Publish | undefined => (sessionId === SESSION ? publish : undefined);
    server = new RelayServer({ clock, metrics, readersMax: 2, find });
    await server.listen(path);
  });
  afterEach(async () => {
    publish.end('lost');
    const closed = server.close();
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(10_000);
    await within('the relay to close', 2_000, closed);
    await rm(directory, { recursive: true });
  });

  const video = (timestampMs: number, body: Uint8Array): void => publish.media('video', timestampMs, body, 0);
  const begin = (): void => {
    video(0, videoHeader);
    video(0, keyFrame);
  };
  const read = (sessionId = SESSION, signal = abort.signal) => readRelay(path, sessionId, signal);
  const next = async (reader: AsyncGenerator<IngestPacket, PublishEnd | undefined>): Promise<unknown> => {
    const { value, done } = await within('a packet', 5_000, reader.next());
    if (done === true) return value;
    return value !== undefined && typeof value === 'object' && 'dtsMs' in value ? value.dtsMs : value;
  };

  it('gives a reader what was, what comes, and the reason of the end', async () => {
    begin();
    video(33, interFrame);
    const reader = read();
    expect([await next(reader), await next(reader), await next(reader)]).toEqual([0, 0, 33]);
    video(66, interFrame);
    expect(await next(reader)).toBe(66);
    video(99, interFrame);
    publish.end('unpublished');
    expect([await next(reader), await next(reader)]).toEqual([99, 'unpublished']);
  });

  it('lets a reader that comes again begin at the last key frame', async () => {
    begin();
    video(900, interFrame);
    video(1_800, keyFrame);
    video(1_833, interFrame);
    const reader = read();
    expect([await next(reader), await next(reader), await next(reader)]).toEqual([1_800, 1_800, 1_833]);
    await reader.return(undefined);
    video(1_866, interFrame);
    const again = read();
    expect([await next(again), await next(again), await next(again)]).toEqual([1_800, 1_800, 1_833]);
    await again.return(undefined);
  });

  it('ends the reading when the reader wants it', async () => {
    begin();
    const stop = new AbortController();
    const reader = read(SESSION, stop.signal);
    await next(reader);
    await next(reader);
    const waiting = reader.next();
    stop.abort();
    expect(await waiting).toEqual({ value: undefined, done: true });
    await waitFor('the server to notice', () => publish.log.readerCount === 0);
    expect(await read(SESSION, stop.signal).next()).toEqual({ value: undefined, done: true });
  });

  it('cuts off a reader that is too slow, keeps within its limit, and leaves the others alone', async () => {
    begin();
    const [slow, quick] = [read(), read()];
    await next(slow);
    await next(quick);
    await next(quick);
    for (let index = 1; index <= 200; index++) {
      video(index * 5, interFrameOf(100_000));
      expect(publish.log.byteCount).toBeLessThanOrEqual(BACKLOG_BYTES);
      expect(await next(quick)).toBe(index * 5);
    }
    const drain = async (): Promise<void> => {
      for (let result = await slow.next(); result.done !== true; result = await slow.next());
    };
    await expect(within('the error', 5_000, drain())).rejects.toMatchObject({ code: 'reader_too_slow' });
    expect(await valueOf(metrics.readersFailed, { reason: 'reader_too_slow' })).toBe(1);
    await quick.return(undefined);
  });

  it('destroys the connection of a reader that takes nothing at all any more', async () => {
    begin();
    const slow = read();
    await next(slow);
    // With pauses: what lies between the two is full long before the log is.
    for (let index = 1; index <= 200; index++) {
      video(index * 5, interFrameOf(100_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await waitFor(
      'the cut',
      async () => (await valueOf(metrics.readersFailed, { reason: 'reader_too_slow' })) === 1,
    );
    clock.advance(1_000);
    await waitFor('its end', () => publish.log.readerCount === 0);
    expect((await metrics.readers.get()).values[0]?.value).toBe(0);
    await slow.return(undefined);
  });

  it('writes a reader no more at once than its socket has use for', async () => {
    begin();
    const reader = read();
    await next(reader);
    for (let index = 1; index <= 30; index++) video(index * 5, interFrameOf(100_000));
    // The reader holds its first chunk and takes no more; all the rest must still be in the log.
    publish.end('lost');
    publish.log.discard();
    const received: unknown[] = [];
    const drain = async (): Promise<void> => {
      for (;;) received.push(await next(reader));
    };
    await expect(drain()).rejects.toMatchObject({ code: 'reader_too_slow' });
    expect(received.length).toBeLessThan(12);
  });

  it('knows only the sessions that there are', async () => {
    await expect(read('another').next()).rejects.toMatchObject({ code: 'session_unknown' });
  });

  it('serves so many readers at once', async () => {
    begin();
    const readers = [read(), read()];
    for (const reader of readers) await next(reader);
    await expect(read().next()).rejects.toMatchObject({ code: 'readers_exceeded' });
    await readers[0]?.return(undefined);
    await waitFor('a free place', () => publish.log.readerCount === 1);
    const third = read();
    expect(await next(third)).toBe(0);
    for (const reader of [...readers, third]) await reader.return(undefined);
  });

  it('waits so long for a request', async () => {
    const socket = connect(path);
    await once(socket, 'connect');
    clock.advance(4_999);
    expect(socket.destroyed).toBe(false);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1);
    await within('the end of the connection', 2_000, once(socket, 'close'));
    expect(socket.bytesRead).toBe(0);
  });

  it.each([
    ['that is too long', 'ffffffff'],
    ['that makes no sense', '00000001ff'],
    ['of the wrong kind', '00000005066c6f7374'],
  ])('closes on a request %s', async (_name, hex) => {
    const socket = connect(path);
    socket.resume();
    socket.write(Buffer.from(hex, 'hex'));
    await within('the end of the connection', 2_000, once(socket, 'close'));
    expect(publish.log.readerCount).toBe(0);
  });

  describe('as an incoming publish', () => {
    it('ends without an error when the ingest dies, however its news and the broken line come', async () => {
      begin();
      const incoming = new RelayedPublish(grant, path, clock);
      const packets = incoming.packets(abort.signal);
      await packets.next();
      await packets.next();
      const rest = packets.next();
      const closed = server.close();
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1_000);
      await closed;
      incoming.end('lost');
      expect(await within('the end', 5_000, rest)).toEqual({ value: undefined, done: true });
      expect(await incoming.ended).toBe('lost');
    });

    it('says so when the line breaks and the publish goes on', async () => {
      begin();
      const incoming = new RelayedPublish(grant, path, clock);
      const packets = incoming.packets(abort.signal);
      await packets.next();
      await packets.next();
      const rest = packets.next();
      let error: unknown;
      rest.catch((caught: unknown) => (error = caught));
      const closed = server.close();
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1_000);
      await closed;
      // The clock stands still but for what is let pass here: the wait for news of the end.
      await waitFor('the error', () => {
        clock.advance(100);
        return error !== undefined;
      });
      expect(error).toMatchObject({ code: 'relay_broken' });
    });
  });
});
