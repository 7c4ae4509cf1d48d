import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RunningHttpServer } from '#runtime/http/server.ts';
import { parseStrictly } from '#origin/live/testing/strict-parser.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { TestPublisher, createTestOrigin, type TestOrigin } from '#origin/live/testing/test-publisher.ts';
import { servePlayback } from '#origin/testing/serve-playback.ts';

let origin: TestOrigin;
let publisher: TestPublisher;
let server: RunningHttpServer;

beforeEach(async () => {
  origin = createTestOrigin();
  // Segments of six parts; after this, segment `complete` is the last complete one and two parts of the next are in.
  publisher = new TestPublisher(origin).begin().putSegments(4).putCells(2);
  server = await servePlayback(origin.streams);
});
afterEach(async () => {
  await origin.streams.close();
  await server.close(0);
});

const complete = (): number => publisher.grant.firstMsn + 3;
const open = (): number => complete() + 1;
const waiting = (): number | undefined => origin.streams.status('show')?.waiters;

function ask(query: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${server.url}/live/show/720p/index.m3u8${query === '' ? '' : `?${query}`}`, init);
}

/** Asks, and waits until the request is held. */
async function askAndHold(query: string): Promise<{ answer: Promise<Response>; isAnswered: () => boolean }> {
  const before = waiting() ?? 0;
  let answered = false;
  const answer = ask(query).finally(() => {
    answered = true;
  });
  await vi.waitFor(() => expect(waiting()).toBe(before + 1));
  return { answer, isAnswered: () => answered };
}

async function partsOf(response: Response): Promise<string[]> {
  expect(response.status).toBe(200);
  const { segments } = parseStrictly(await response.text());
  return segments.flatMap(({ parts }) => parts.filter(({ hint }) => !hint).map(({ uri }) => uri));
}

async function problemOf(response: Response): Promise<[number, string, string | null]> {
  const { code } = (await response.json()) as { code: string };
  return [response.status, code, response.headers.get('cache-control')];
}

/** Puts parts one by one until the request is answered; returns how many that took. */
async function partsUntilAnswered(held: { isAnswered: () => boolean }, most = 12): Promise<number> {
  for (let count = 1; count <= most; count++) {
    publisher.putCells(1);
    if (waiting() !== 0) continue;
    await vi.waitUntil(held.isAnswered);
    return count;
  }
  throw new Error(`not answered after ${most} parts`);
}

describe('§6.2.5.2 Blocking Playlist Reload', () => {
  it('B1: _HLS_msn alone waits for the whole of a segment that is under way', async () => {
    const held = await askAndHold(`_HLS_msn=${open()}`);
    expect(await partsUntilAnswered(held)).toBe(4);
    const { segments } = parseStrictly(await (await held.answer).text());
    expect(segments.map(({ uri }) => uri)).toContain(`${open()}.m4s`);
  });

  it('B1: _HLS_msn alone waits for the whole of a segment after the next', async () => {
    const wanted = open() + 1;
    const held = await askAndHold(`_HLS_msn=${wanted}`);
    expect(await partsUntilAnswered(held, 12)).toBe(10);
    const { segments } = parseStrictly(await (await held.answer).text());
    expect(segments.map(({ uri }) => uri)).toContain(`${wanted}.m4s`);
  });

  it('B1: _HLS_msn alone is answered with the first part of a next segment that has not begun, and held when asked again', async () => {
    const next = open() + 1;
    publisher.putCells(4);
    const first = await askAndHold(`_HLS_msn=${next}`);
    expect(await partsUntilAnswered(first)).toBe(1);
    const interim = await first.answer;
    expect(interim.headers.get('cache-control')).toBe('no-cache');
    expect(await partsOf(interim)).toContain(`${next}.0.m4s`);
    const second = await askAndHold(`_HLS_msn=${next}`);
    expect(await partsUntilAnswered(second)).toBe(5);
    expect((await second.answer).headers.get('cache-control')).toBe('public, max-age=12');
  });

  it('B2: _HLS_msn and _HLS_part wait for that part, and not a byte is sent before', async () => {
    const held = await askAndHold(`_HLS_msn=${open()}&_HLS_part=3`);
    publisher.putCells(1);
    expect(waiting()).toBe(1);
    expect(held.isAnswered()).toBe(false);
    publisher.putCells(1);
    const parts = await partsOf(await held.answer);
    expect(parts.at(-1)).toBe(`${open()}.3.m4s`);
  });

  it('B2: a part that is there is answered at once', async () => {
    expect(await partsOf(await ask(`_HLS_msn=${open()}&_HLS_part=1`))).toContain(`${open()}.1.m4s`);
    expect(waiting()).toBe(0);
  });

  it('B3: a part beyond the end of a complete segment is the first part of the next one', async () => {
    publisher.putCells(4);
    const held = await askAndHold(`_HLS_msn=${open()}&_HLS_part=6`);
    expect(await partsUntilAnswered(held)).toBe(1);
    expect((await partsOf(await held.answer)).at(-1)).toBe(`${open() + 1}.0.m4s`);
  });

  it('B3: a part beyond the end of the open segment is the first part of the next one', async () => {
    const held = await askAndHold(`_HLS_msn=${open()}&_HLS_part=8`);
    expect(await partsUntilAnswered(held)).toBe(5);
    expect((await partsOf(await held.answer)).at(-1)).toBe(`${open() + 1}.0.m4s`);
  });

  it('B3: a part beyond the end of an older segment is there already', async () => {
    expect((await ask(`_HLS_msn=${complete()}&_HLS_part=99`)).status).toBe(200);
  });

  it('B4: a segment that has left the playlist, or was never in it, gets the whole playlist', async () => {
    publisher.putSegments(20);
    const plain = await (await ask('')).text();
    expect(plain).not.toContain(`\n${complete()}.m4s`);
    for (const msn of [complete(), 1, 0])
      for (const query of [`_HLS_msn=${msn}`, `_HLS_msn=${msn}&_HLS_part=2`]) {
        const response = await ask(query);
        expect([response.status, await response.text()]).toEqual([200, plain]);
      }
  });

  it('B5: the directives mean nothing once EXT-X-ENDLIST is there', async () => {
    const parked = await askAndHold(`_HLS_msn=${open()}&_HLS_part=4`);
    origin.streams.sessionEnded('show', publisher.sessionId, 'revoked');
    const ended = await (await parked.answer).text();
    expect(ended).toContain('#EXT-X-ENDLIST');
    for (const query of [`_HLS_msn=${open() + 50}`, '_HLS_msn=1&_HLS_part=1&_HLS_skip=YES', '_HLS_skip=v2']) {
      const response = await ask(query);
      expect([response.status, await response.text()]).toEqual([200, ended]);
      expect(response.headers.get('cache-control')).toBe('public, max-age=1');
    }
  });

  it('B6: _HLS_part without _HLS_msn is answered 400', async () => {
    expect(await problemOf(await ask('_HLS_part=0'))).toEqual([
      400,
      'directive_part_without_msn',
      'no-store',
    ]);
  });

  it.each(['-1', 'abc', '1.5', '', '99999999999999999999', '0x1'])(
    'B6: _HLS_msn=%s is answered 400',
    async (msn) => {
      expect(await problemOf(await ask(`_HLS_msn=${msn}`))).toEqual([400, 'directive_invalid', 'no-store']);
    },
  );

  it('B6: a directive that is given twice is answered 400', async () => {
    expect(await problemOf(await ask(`_HLS_msn=1&_HLS_msn=1`))).toEqual([
      400,
      'directive_invalid',
      'no-store',
    ]);
  });

  it('B7: a segment more than two beyond the open one is answered 400 at once', async () => {
    expect(await problemOf(await ask(`_HLS_msn=${open() + 3}`))).toEqual([400, 'msn_too_far', 'no-store']);
    const held = await askAndHold(`_HLS_msn=${open() + 2}&_HLS_part=0`);
    expect(await partsUntilAnswered(held, 20)).toBe(11);
    expect((await held.answer).status).toBe(200);
  });

  it('B8: a part beyond the Advance Part Limit is answered 400 at once', async () => {
    // PART-TARGET is 0.36 s: 3 / 0.36 = 8 parts beyond part 1.
    expect(await problemOf(await ask(`_HLS_msn=${open()}&_HLS_part=10`))).toEqual([
      400,
      'part_too_far',
      'no-store',
    ]);
    const held = await askAndHold(`_HLS_msn=${open()}&_HLS_part=9`);
    publisher.putSegments(1);
    expect((await held.answer).status).toBe(200);
  });

  it.each([
    [200, 2_000],
    [333, 2_000],
    [500, 4_000],
    [1_000, 6_000],
  ])(
    'B8: parts of %i ms, segments of %i ms: who wants whole segments may ask for the last part of the next one',
    async (partDurationMs, segmentDurationMs) => {
      const presentation = makePresentation({ partDurationMs, segmentDurationMs });
      publisher = new TestPublisher(origin, { fencingToken: 2, presentation }).begin().putSegments(3);
      const last = presentation.partsPerSegment - 1;
      for (let part = 0; part < presentation.partsPerSegment; part++) {
        const { msn } = publisher.next;
        const responses = [
          ask(`_HLS_msn=${msn}&_HLS_part=${last}`),
          ask(`_HLS_msn=${msn + 1}&_HLS_part=${last}`),
        ];
        await vi.waitFor(() => expect(waiting()).toBe(2));
        publisher.putSegments(2);
        for (const response of responses) expect((await response).status).toBe(200);
        publisher.putCells(1);
      }
    },
  );

  it('B9: a request that is held longer than three target durations is answered 503', async () => {
    const held = await askAndHold(`_HLS_msn=${open()}&_HLS_part=2`);
    origin.clock.advance(6_000 - 1);
    expect(waiting()).toBe(1);
    origin.clock.advance(251);
    const response = await held.answer;
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await problemOf(response)).toEqual([503, 'hold_expired', 'no-store']);
  });

  it('B9: gaps keep requests from expiring when the broadcaster has gone', async () => {
    const held = await askAndHold(`_HLS_msn=${open()}&_HLS_part=5`);
    origin.clock.advance(3_000);
    origin.streams.sessionEnded('show', publisher.sessionId, 'lost');
    const text = await (await held.answer).text();
    expect(text).toContain(`URI="${open()}.5.m4s",GAP=YES`);
  });

  it('keeps requests waiting while a publisher restarts', async () => {
    const held = await askAndHold(`_HLS_msn=${open() + 1}&_HLS_part=0`);
    const next = new TestPublisher(origin, { fencingToken: 2 }).begin();
    expect(next.grant.firstMsn).toBe(open() + 1);
    next.putCells(1);
    expect(await partsOf(await held.answer)).toContain(`${next.grant.firstMsn}.0.m4s`);
  });
});

describe('§6.2.5.1 Playlist Delta Updates', () => {
  it('come with blocking requests, in any order of the query', async () => {
    publisher.putSegments(10);
    const { msn, part } = publisher.next;
    const directives = [`_HLS_msn=${msn}`, `_HLS_part=${part}`, '_HLS_skip=YES', 'token=x'];
    const answers = [ask(directives.join('&')), ask(directives.toReversed().join('&'))];
    await vi.waitFor(() => expect(waiting()).toBe(2));
    publisher.putCells(1);
    const [first, second] = await Promise.all(answers.map(async (answer) => (await answer).text()));
    expect(first).toBe(second);
    expect(parseStrictly(first ?? '').skip).toBeGreaterThan(0);
  });

  it('mean the same version of the playlist', async () => {
    publisher.putSegments(10);
    const texts = await Promise.all(
      ['', '_HLS_skip=YES', '_HLS_skip=v2'].map(async (query) => (await ask(query)).text()),
    );
    const ends = texts.map((text) => parseStrictly(text).segments.at(-1)?.mediaSequenceNumber);
    expect(new Set(ends).size).toBe(1);
    expect(texts[2]).toContain('RECENTLY-REMOVED-DATERANGES=""');
  });
});

describe('many who wait', () => {
  const counters = async (): Promise<{ renders: number; compressions: number; released: number }> => {
    const { renders, compressions, waits } = origin.streams.metrics;
    const value = async (
      metric: { get(): Promise<{ values: { value: number; labels: object }[] }> },
      labels = {},
    ) =>
      (await metric.get()).values.find((entry) => JSON.stringify(entry.labels) === JSON.stringify(labels))
        ?.value ?? 0;
    return {
      renders: await value(renders, { playlist: 'media' }),
      compressions: await value(compressions),
      released: await value(waits, { outcome: 'released' }),
    };
  };

  it('2000 get the same bytes, written once and compressed once', async () => {
    const answers = Array.from({ length: 2_000 }, () =>
      ask(`_HLS_msn=${open()}&_HLS_part=2`, { headers: { 'accept-encoding': 'gzip' } }),
    );
    await vi.waitFor(() => expect(waiting()).toBe(2_000), { timeout: 15_000 });
    expect(await counters()).toEqual({ renders: 0, compressions: 0, released: 0 });
    publisher.putCells(1);
    const etags = new Set<string | null>();
    const texts = new Set<string>();
    for (const answer of answers) {
      const response = await answer;
      expect(response.status).toBe(200);
      etags.add(response.headers.get('etag'));
      texts.add(await response.text());
    }
    expect([etags.size, texts.size]).toEqual([1, 1]);
    expect(await counters()).toEqual({ renders: 1, compressions: 1, released: 2_000 });
    expect(waiting()).toBe(0);
  });

  it('leave nothing behind when they go away', async () => {
    const abort = new AbortController();
    const timers = origin.clock.pendingCount;
    const answers = Array.from({ length: 200 }, () =>
      ask(`_HLS_msn=${open()}&_HLS_part=2`, { signal: abort.signal }),
    );
    const outcomes = Promise.allSettled(answers);
    await vi.waitFor(() => expect(waiting()).toBe(200), 10_000);
    abort.abort();
    await outcomes;
    await vi.waitFor(() => expect(waiting()).toBe(0), 10_000);
    expect((await origin.streams.metrics.waiters.get()).values[0]?.value).toBe(0);
    expect(origin.clock.pendingCount).toBe(timers);
    publisher.putCells(1);
    expect((await counters()).released).toBe(0);
  });

  it('are bounded: 503 with Retry-After for one too many', async () => {
    origin = createTestOrigin({ streamWaitersMax: 2 });
    publisher = new TestPublisher(origin).begin().putSegments(4).putCells(2);
    await server.close(0);
    server = await servePlayback(origin.streams);
    const held = [
      await askAndHold(`_HLS_msn=${open()}&_HLS_part=2`),
      await askAndHold(`_HLS_msn=${open()}&_HLS_part=3`),
    ];
    const refused = await ask(`_HLS_msn=${open()}&_HLS_part=2`);
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await problemOf(refused)).toEqual([503, 'stream_waiters_exhausted', 'no-store']);
    expect((await ask('')).status).toBe(200);
    publisher.putCells(2);
    for (const { answer } of held) expect((await answer).status).toBe(200);
  });

  it('are answered in gzip that is the same text', async () => {
    const raw = await fetch(`${server.url}/live/show/720p/index.m3u8`, {
      headers: { 'accept-encoding': 'identity' },
    });
    expect(raw.headers.get('content-encoding')).toBeNull();
    const text = await raw.text();
    const [compressed] = (await once(
      get(`${server.url}/live/show/720p/index.m3u8`, { headers: { 'accept-encoding': 'gzip' } }),
      'response',
    )) as [IncomingMessage];
    expect(compressed.headers['content-encoding']).toBe('gzip');
    expect(gunzipSync(Buffer.concat(await compressed.toArray())).toString()).toBe(text);
  });
});
