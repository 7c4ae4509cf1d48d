import { describe, expect, it, vi } from 'vitest';
import { TAIL_MS } from '#origin/live/live-stream.ts';
import { parseMultivariantStrictly, parseStrictly } from '#origin/live/testing/strict-parser.ts';
import { audioRendition, makePresentation, videoRendition } from '#origin/live/testing/synthetic-media.ts';
import {
  TestPublisher,
  createTestOrigin,
  textOf,
  type TestOrigin,
} from '#origin/live/testing/test-publisher.ts';

const never = { signal: new AbortController().signal };
const IDS = ['720p', '360p', 'audio'];
const FULL = { block: undefined, form: 'full' } as const;
const problem = (status: number, code: string): unknown => expect.objectContaining({ status, code });

/** Waits until so many requests are held. */
function held({ streams }: TestOrigin, count: number): Promise<void> {
  return vi.waitFor(() => expect(streams.status('show')?.waiters).toBe(count));
}

async function multivariantOf({ stream }: TestPublisher): Promise<string> {
  return new TextDecoder().decode((await stream.playback.multivariant(never)).rendered.identity);
}

describe('§6.2.1 a live playlist', () => {
  it('lists every part as it comes, and each segment with the last of its parts', () => {
    const publisher = new TestPublisher(createTestOrigin()).begin().putSegments(2).putCells(3);
    const { segments } = parseStrictly(publisher.playlist('720p'));
    expect(segments.map(({ mediaSequenceNumber }) => mediaSequenceNumber)).toEqual([
      publisher.grant.firstMsn,
      publisher.grant.firstMsn + 1,
      publisher.grant.firstMsn + 2,
    ]);
    expect(segments.map(({ parts }) => parts.length)).toEqual([6, 6, 4]);
    expect(segments[2]?.parts.at(-1)).toMatchObject({
      hint: true,
      uri: `${publisher.grant.firstMsn + 2}.3.m4s`,
    });
  });

  it('has segments that are their parts, byte for byte', async () => {
    const publisher = new TestPublisher(createTestOrigin()).begin().putSegments(2);
    const { playback } = publisher.stream;
    for (const id of IDS) {
      const { firstMsn } = publisher.grant;
      const parts = await Promise.all(
        [0, 1, 2, 3, 4, 5].map(async (part) => (await playback.part(id, firstMsn, part, never)).media.bytes),
      );
      expect(
        parts.map((bytes, part) =>
          Buffer.compare(bytes, publisher.body(id, publisher.upload(id, { msn: firstMsn, part }))),
        ),
      ).toEqual([0, 0, 0, 0, 0, 0]);
      expect(Buffer.concat(parts)).toEqual(Buffer.from(playback.segment(id, firstMsn).media.bytes));
    }
  });

  it('reports how far every other rendition has come', () => {
    const publisher = new TestPublisher(createTestOrigin())
      .begin()
      .putSegments(1)
      .putCells(2, ['720p', 'audio']);
    const reports = parseStrictly(publisher.playlist('720p')).renditionReports;
    const { firstMsn } = publisher.grant;
    expect(reports.map(({ uri, lastMSN, lastPart }) => [uri, lastMSN, lastPart])).toEqual([
      ['../360p/index.m3u8', firstMsn, 5],
      ['../audio/index.m3u8', firstMsn + 1, 0],
    ]);
  });

  it('says the same of itself for its whole life and in all renditions', () => {
    const publisher = new TestPublisher(createTestOrigin()).begin();
    const said = new Set<string>();
    for (let part = 0; part < 60; part++) {
      publisher.putCells(1);
      for (const id of IDS)
        said.add(
          publisher
            .playlist(id)
            .match(/^#EXT-X-(VERSION|TARGETDURATION|SERVER-CONTROL|PART-INF):.*$/gm)
            ?.join('\n') ?? '',
        );
    }
    expect([...said]).toHaveLength(1);
  });
});

describe('§6.2.2 what leaves a live playlist', () => {
  it('keeps the wanted length, counts what has left, and serves it for a while longer', () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin, { liveWindowMs: 20_000 }).begin().putSegments(30);
    const { mediaSequenceBase, segments } = parseStrictly(publisher.playlist('720p'));
    expect(mediaSequenceBase).toBe(publisher.grant.firstMsn + 30 - 10);
    expect(segments.filter(({ uri }) => uri !== '')).toHaveLength(10);
    const { playback } = publisher.stream;
    const justEvicted = publisher.grant.firstMsn + 19;
    expect(playback.segment('720p', justEvicted).media.bytes.length).toBeGreaterThan(0);
    // It was listed for 20 s and lasts 2 s; the playlist was never longer than 22.4 s.
    publisher.putSegments(4);
    expect(() => playback.segment('720p', justEvicted)).toThrow(problem(404, 'segment_not_found'));
  });

  it('serves what leaves for three target durations, also when the playlist has stood still', () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin, { liveWindowMs: 20_000 }).begin().putSegments(10);
    origin.clock.advance(25_000);
    publisher.putSegments(1);
    const { firstMsn } = publisher.grant;
    expect(parseStrictly(publisher.playlist('720p')).mediaSequenceBase).toBe(firstMsn + 1);
    origin.clock.advance(5_999);
    const { playback } = publisher.stream;
    expect(playback.segment('720p', firstMsn).media.bytes.length).toBeGreaterThan(0);
    origin.clock.advance(1);
    expect(() => playback.segment('720p', firstMsn)).toThrow(problem(404, 'segment_not_found'));
  });

  it('serves a part for three target durations after its tag has gone', async () => {
    const publisher = new TestPublisher(createTestOrigin()).begin().putSegments(3);
    const { playback } = publisher.stream;
    const part = (): Promise<unknown> => playback.part('720p', publisher.grant.firstMsn, 2, never);
    expect(publisher.playlist('720p')).not.toContain(`${publisher.grant.firstMsn}.2.m4s`);
    publisher.putCells(17);
    await expect(part()).resolves.toMatchObject({ kind: 'video' });
    publisher.putCells(2);
    await expect(part()).rejects.toMatchObject({ status: 404, code: 'part_not_found' });
    expect(playback.segment('720p', publisher.grant.firstMsn).media.bytes.length).toBeGreaterThan(0);
  });

  it('never has fewer than six segments, however short a window is asked for', () => {
    const publisher = new TestPublisher(createTestOrigin(), { liveWindowMs: 0 }).begin().putSegments(20);
    expect(parseStrictly(publisher.playlist('720p')).segments.filter(({ uri }) => uri !== '')).toHaveLength(
      6,
    );
  });
});

describe('§4.4.4.9 missing parts', () => {
  it('are gaps in a segment that is otherwise there', () => {
    const publisher = new TestPublisher(createTestOrigin())
      .begin()
      .putSegments(1)
      .putCells(2)
      .loseCells(2)
      .putCells(2);
    const [, segment] = parseStrictly(publisher.playlist('720p')).segments;
    expect(segment?.parts.map(({ gap }) => gap ?? false)).toEqual([false, false, true, true, false, false]);
    expect(segment?.gap).toBeFalsy();
    expect(segment?.duration).toBeCloseTo(2, 4);
    const { media } = publisher.stream.playback.segment('720p', publisher.grant.firstMsn + 1);
    expect(media.bytes.length).toBe(4 * publisher.body('720p', publisher.upload('720p')).length);
  });

  it('are answered 404', async () => {
    const publisher = new TestPublisher(createTestOrigin())
      .begin()
      .putSegments(1)
      .putCells(2)
      .loseCells(2)
      .putCells(1);
    await expect(
      publisher.stream.playback.part('720p', publisher.grant.firstMsn + 1, 2, never),
    ).rejects.toMatchObject({
      status: 404,
      code: 'part_gap',
      headers: { 'cache-control': 'public, max-age=2' },
    });
  });

  it('make a segment without media a gap as a whole', () => {
    const publisher = new TestPublisher(createTestOrigin())
      .begin()
      .putSegments(1)
      .loseCells(8)
      .putCells(4)
      .putSegments(1);
    const segments = parseStrictly(publisher.playlist('audio')).segments;
    expect(segments.map(({ gap }) => gap ?? false)).toEqual([false, true, false, false, false]);
    expect(() => publisher.stream.playback.segment('audio', publisher.grant.firstMsn + 1)).toThrow(
      problem(404, 'segment_gap'),
    );
  });

  it('take with them what cannot be decoded without them', () => {
    const publisher = new TestPublisher(createTestOrigin())
      .begin()
      .putSegments(1)
      .loseCells(1)
      .putCells(5)
      .putSegments(1);
    const [, video] = parseStrictly(publisher.playlist('720p')).segments;
    expect(video?.gap).toBe(true);
    const [, audio] = parseStrictly(publisher.playlist('audio')).segments;
    expect(audio?.parts.map(({ gap }) => gap ?? false)).toEqual([true, false, false, false, false, false]);
  });

  it('may be announced as such', () => {
    const publisher = new TestPublisher(createTestOrigin()).begin().putSegments(1);
    expect(publisher.put('720p')).toBe('stored');
    expect(publisher.put('720p', { part: 1, gap: true, startTicks: 0, durationTicks: 0 })).toBe('gap');
    const parts = parseStrictly(publisher.playlist('720p')).segments[1]?.parts;
    expect(parts?.map(({ gap }) => gap ?? false)).toEqual([false, true, false]);
  });
});

describe('§6.2.1 when the broadcaster goes', () => {
  it('keeps the cadence with gaps, one part per cell, in all renditions', () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putSegments(2).putCells(2);
    const { firstMsn } = publisher.grant;
    origin.clock.advance(3_000);
    origin.streams.sessionEnded('show', publisher.sessionId, 'lost');
    const lastParts = (): unknown[] =>
      IDS.map((id) => {
        const { segments } = parseStrictly(publisher.playlist(id));
        const last = segments.flatMap(({ parts }) => parts).findLast(({ hint }) => !hint);
        return [last?.uri, last?.gap];
      });
    // Nine cells of a third of a second have passed since part 1 of the third segment.
    expect(lastParts()).toEqual(IDS.map(() => [`${firstMsn + 3}.4.m4s`, true]));
    origin.clock.advance(334);
    expect(lastParts()).toEqual(IDS.map(() => [`${firstMsn + 3}.5.m4s`, true]));
    expect(origin.streams.status('show')?.state).toBe('reconnecting');
  });

  it.each([
    ['lost', 60_000, 60_000],
    ['error', 60_000, 60_000],
    ['unpublished', 60_000, 10_000],
    ['unpublished', 4_000, 4_000],
    ['revoked', 60_000, 0],
    ['lost', 0, TAIL_MS],
  ] as const)('%s, reconnect window %i ms: ends after %i ms', (reason, reconnectWindowMs, endsAfterMs) => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin, { reconnectWindowMs }).begin().putSegments(2);
    origin.streams.sessionEnded('show', publisher.sessionId, reason);
    origin.clock.advance(Math.max(0, endsAfterMs - 1));
    expect(parseStrictly(publisher.playlist('720p')).endlist).toBe(endsAfterMs === 0);
    origin.clock.advance(1);
    for (const id of IDS) expect(parseStrictly(publisher.playlist(id)).endlist).toBe(true);
    expect(origin.streams.status('show')?.state).toBe('ended');
  });

  it('takes the parts that were still in the encoder, and then begins with the gaps', () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putSegments(2).putCells(1);
    const { firstMsn } = publisher.grant;
    origin.streams.sessionEnded('show', publisher.sessionId, 'unpublished');
    expect(origin.streams.status('show')?.state).toBe('reconnecting');
    publisher.putCells(1);
    origin.clock.advance(TAIL_MS);
    expect(() => publisher.putCells(1)).toThrow('The session has ended');
    const { parts } = parseStrictly(publisher.playlist('720p')).segments.at(-1) ?? { parts: [] };
    expect(parts.slice(0, 3).map(({ uri, gap }) => [uri, gap ?? false])).toEqual([
      [`${firstMsn + 2}.0.m4s`, false],
      [`${firstMsn + 2}.1.m4s`, false],
      [`${firstMsn + 2}.2.m4s`, true],
    ]);
    expect(publisher.playlist('720p')).toContain(`URI="${firstMsn + 2}.2.m4s",GAP=YES`);
  });

  it('ends at once when the session is revoked while it is waited for', () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putSegments(2);
    origin.streams.sessionEnded('show', publisher.sessionId, 'lost');
    origin.streams.sessionEnded('show', publisher.sessionId, 'revoked');
    expect(parseStrictly(publisher.playlist('720p')).endlist).toBe(true);
  });

  it('does not care for a session that is not the newest', () => {
    const origin = createTestOrigin();
    const first = new TestPublisher(origin).begin().putSegments(1);
    const second = new TestPublisher(origin, { fencingToken: 2 }).begin().putSegments(1);
    origin.streams.sessionEnded('show', first.sessionId, 'revoked');
    origin.streams.sessionEnded('show', 'nobody', 'revoked');
    expect(origin.streams.status('show')?.state).toBe('live');
    expect(parseStrictly(second.playlist('720p')).endlist).toBe(false);
  });
});

describe('§4.4.4.3 when the broadcaster comes back in time', () => {
  function comeBack(changes: Parameters<TestPublisher['begin']>[0] = {}) {
    const origin = createTestOrigin();
    const first = new TestPublisher(origin).begin().putSegments(3).putCells(2, ['720p']);
    origin.streams.sessionEnded('show', first.sessionId, 'lost');
    origin.clock.advance(5_000);
    const second = new TestPublisher(origin, { fencingToken: 2 }).begin(changes);
    return { origin, first, second };
  }

  it('goes on in the same playlists, with one discontinuity at the same number in all of them', () => {
    const { first, second } = comeBack();
    second.putSegments(2);
    for (const id of IDS) {
      const { segments, mediaSequenceBase } = parseStrictly(second.playlist(id));
      expect(mediaSequenceBase).toBe(first.grant.firstMsn);
      const numbers = segments.map(({ mediaSequenceNumber }) => mediaSequenceNumber);
      expect(numbers).toEqual(numbers.map((_, index) => first.grant.firstMsn + index));
      const discontinuities = segments.filter(({ discontinuity }) => discontinuity);
      expect(discontinuities.map(({ mediaSequenceNumber, map }) => [mediaSequenceNumber, map?.uri])).toEqual([
        [second.grant.firstMsn, `init-${second.grant.timeline}.mp4`],
      ]);
    }
  });

  it('hints the init segment with the first part, and holds the request for it', async () => {
    const { origin } = comeBack();
    const third = new TestPublisher(origin, { fencingToken: 3 });
    third.grant = origin.streams.beginTimeline({
      streamId: 'show',
      sessionId: third.sessionId,
      fencingToken: 3,
      anchorUtcMs: origin.clock.nowMs(),
      presentation: third.presentation,
      lastMsnFloor: 0,
      reconnectWindowMs: 60_000,
      liveWindowMs: 30_000,
    });
    const { timeline } = third.grant;
    expect(third.playlist('720p')).toContain(`#EXT-X-PRELOAD-HINT:TYPE=MAP,URI="init-${timeline}.mp4"`);
    const held = third.stream.playback.init('720p', timeline, never);
    expect(origin.streams.status('show')?.waiters).toBe(1);
    third.putInit(third.rendition('720p'));
    expect((await held).media).toMatchObject({ timeline });
  });

  it('fills the numbers between with gaps as long as the media is missing', () => {
    const origin = createTestOrigin();
    const first = new TestPublisher(origin).begin().putSegments(3).putCells(1);
    // The encoder is restarted in the same session: no gaps in between, 5 s without media.
    origin.clock.advance(5_000);
    const before = parseStrictly(first.playlist('audio')).segments.length;
    const { firstMsn } = first.grant;
    first.begin().putSegments(1);
    const { segments } = parseStrictly(first.playlist('audio'));
    const gaps = segments.filter(({ gap }) => gap);
    expect(first.grant.firstMsn).toBe(firstMsn + before + gaps.length);
    expect(gaps.length).toBeGreaterThan(0);
    expect(gaps.reduce((sum, { duration }) => sum + duration, 0)).toBeCloseTo(5, 0);
    const [discontinuity] = segments.filter((segment) => segment.discontinuity);
    const lastGap = gaps.at(-1);
    const gapEndMs = (lastGap?.programDateTime?.getTime() ?? 0) + (lastGap?.duration ?? 0) * 1000;
    expect(Math.abs((discontinuity?.programDateTime?.getTime() ?? 0) - gapEndMs)).toBeLessThan(340);
  });

  it('keeps the clock of PROGRAM-DATE-TIME from running back when the next transcoder is behind', () => {
    const { origin, second } = comeBack({ anchorUtcMs: Date.UTC(2025, 0, 1) });
    second.putSegments(1);
    const { segments } = parseStrictly(textOf(origin, 'show', '720p'));
    let endMs = 0;
    for (const { programDateTime, duration } of segments.filter(({ uri }) => uri !== '')) {
      const startMs = programDateTime?.getTime() ?? 0;
      expect(startMs).toBeGreaterThan(endMs - 1_000);
      endMs = startMs + duration * 1000;
    }
  });

  it('goes on with the renditions that it has, starts new ones, and keeps the others alive with gaps', async () => {
    const presentation = makePresentation({
      renditions: [videoRendition('720p', 3_000_000), videoRendition('240p', 300_000), audioRendition()],
    });
    const { second } = comeBack({ presentation });
    second.putSegments(2).putCells(1);
    const fresh = parseStrictly(second.playlist('240p'));
    expect(fresh.mediaSequenceBase).toBe(second.grant.firstMsn);
    expect(fresh.discontinuitySequenceBase).toBe(1);
    expect(fresh.segments.some(({ discontinuity }) => discontinuity)).toBe(false);
    const retired = parseStrictly(second.playlist('360p'));
    expect(
      retired.segments.filter((segment) => segment.discontinuity).map((s) => s.mediaSequenceNumber),
    ).toEqual([second.grant.firstMsn]);
    expect(retired.segments.at(-1)?.parts[0]?.gap).toBe(true);
    expect(retired.renditionReports.map(({ uri }) => uri)).toEqual([
      '../720p/index.m3u8',
      '../audio/index.m3u8',
      '../240p/index.m3u8',
    ]);
    const { variants } = parseMultivariantStrictly(await multivariantOf(second));
    expect(variants.map(({ uri }) => uri)).toEqual(['240p/index.m3u8', '720p/index.m3u8']);
  });

  it.each([
    ['PART-TARGET', makePresentation({ partDurationMs: 200 })],
    ['TARGETDURATION', makePresentation({ segmentDurationMs: 4_000 })],
  ])('ends the playlist and begins another one when %s would change', (_, presentation) => {
    const { origin, first, second } = comeBack({ presentation });
    const { playback } = second.stream;
    second.putSegments(1);
    const { segments, discontinuitySequenceBase, mediaSequenceBase } = parseStrictly(
      textOf(origin, 'show', '720p'),
    );
    expect(mediaSequenceBase).toBe(second.grant.firstMsn);
    expect(discontinuitySequenceBase).toBe(0);
    expect(segments.some(({ discontinuity }) => discontinuity)).toBe(false);
    // What the old playlist listed can still be downloaded by those who have it.
    expect(playback.segment('720p', first.grant.firstMsn).media.bytes.length).toBeGreaterThan(0);
  });

  it('does not fill a hole that is longer than the window, but begins another playlist', () => {
    const { origin, second } = comeBack({ lastMsnFloor: Date.UTC(2030, 0, 1) / 2_000 });
    second.putSegments(1);
    expect(parseStrictly(textOf(origin, 'show', '720p')).mediaSequenceBase).toBe(second.grant.firstMsn);
  });
});

describe('when the broadcaster comes back too late', () => {
  it('begins another playlist at the same URLs, with numbers that nobody has asked for yet', async () => {
    const origin = createTestOrigin();
    const first = new TestPublisher(origin, { reconnectWindowMs: 1_000 }).begin().putSegments(3);
    origin.streams.sessionEnded('show', first.sessionId, 'lost');
    origin.clock.advance(1_000);
    const lastMsn = origin.streams.status('show')?.lastMsn ?? 0;
    const second = new TestPublisher(origin, { fencingToken: 2 }).begin();
    expect(second.grant.firstMsn).toBeGreaterThan(lastMsn + 3);
    second.putSegments(1);
    const answer = await second.stream.playback.playlist('720p', FULL, never);
    expect(answer.freshness).toBe('plain');
    expect(parseStrictly(new TextDecoder().decode(answer.rendered.identity)).endlist).toBe(false);
  });
});

describe('before a stream can be shown', () => {
  it('holds requests until every rendition has a segment', async () => {
    const publisher = new TestPublisher(createTestOrigin()).begin();
    const held = [
      publisher.stream.playback.multivariant(never),
      publisher.stream.playback.playlist('720p', FULL, never),
      publisher.stream.playback.playlist('audio', FULL, never),
    ];
    publisher.putCells(5);
    expect(publisher.stream.status.waiters).toBe(3);
    publisher.putCells(1, ['720p', '360p']);
    expect(publisher.stream.status.waiters).toBe(3);
    publisher.put('audio', { msn: publisher.grant.firstMsn, part: 5 });
    await expect(Promise.all(held)).resolves.toHaveLength(3);
  });

  it('does not wait for a rendition that does not come, and lists it when it does', async () => {
    const publisher = new TestPublisher(createTestOrigin()).begin();
    publisher.putCells(18, ['720p', 'audio']);
    const before = parseMultivariantStrictly(await multivariantOf(publisher));
    expect(before.variants.map(({ uri }) => uri)).toEqual(['720p/index.m3u8']);
    expect(parseStrictly(publisher.playlist('720p')).renditionReports).toHaveLength(1);
    publisher.putSegments(2);
    const after = parseMultivariantStrictly(await multivariantOf(publisher));
    expect(after.variants.map(({ uri }) => uri)).toEqual(['360p/index.m3u8', '720p/index.m3u8']);
    expect(parseStrictly(publisher.playlist('720p')).renditionReports).toHaveLength(2);
  });

  it('lets nobody wait for a rendition that has stopped longer than the others', async () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putSegments(2);
    const { msn } = publisher.next;
    const stuck = publisher.stream.playback.playlist(
      '360p',
      { block: { msn, part: 0 }, form: 'full' },
      never,
    );
    const fluent = publisher.stream.playback.playlist(
      '720p',
      { block: { msn, part: 0 }, form: 'full' },
      never,
    );
    const outcome = stuck.catch((error: unknown) => error);
    await held(origin, 2);
    publisher.putCells(20, ['720p', 'audio']);
    await expect(fluent).resolves.toMatchObject({ freshness: 'blocking' });
    await expect(outcome).resolves.toMatchObject({ status: 503, code: 'hold_expired' });
  });

  it('answers 404 when the stream ends before it could be shown', async () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putCells(2);
    const held = publisher.stream.playback.multivariant(never);
    origin.streams.sessionEnded('show', publisher.sessionId, 'revoked');
    await expect(held).rejects.toMatchObject({ status: 404, code: 'stream_offline' });
  });
});

describe('§4.4.6.2 bandwidths', () => {
  it('are the encoder’s until enough was measured, and the measured ones, sound included, from then on', async () => {
    const publisher = new TestPublisher(createTestOrigin()).begin().putSegments(2);
    const early = parseMultivariantStrictly(await multivariantOf(publisher));
    expect(early.variants.map(({ bandwidth }) => bandwidth)).toEqual([928_000, 3_128_000]);
    publisher.putSegments(4);
    const { variants } = parseMultivariantStrictly(await multivariantOf(publisher));
    const bytes = (id: string): number =>
      publisher.stream.playback.segment(id, publisher.grant.firstMsn).media.bytes.length;
    const expectedBps = (bytes('720p') * 8) / 2 + (bytes('audio') * 8) / 1.984;
    expect(variants[0]?.bandwidth).toBeGreaterThanOrEqual(expectedBps * 0.99);
    expect(variants[0]?.bandwidth).toBeLessThanOrEqual(expectedBps * 1.01);
    expect(variants[0]?.averageBandwidth).toBeLessThanOrEqual(variants[0]?.bandwidth ?? 0);
  });
});

describe('who may begin a timeline', () => {
  it('refuses a session that is not the newest, and one that is over', () => {
    const origin = createTestOrigin();
    const first = new TestPublisher(origin, { fencingToken: 4 }).begin();
    expect(() => new TestPublisher(origin, { fencingToken: 3 }).begin()).toThrow(
      problem(409, 'fencing_token_stale'),
    );
    expect(() => new TestPublisher(origin, { fencingToken: 4 }).begin()).toThrow(
      problem(409, 'fencing_token_stale'),
    );
    origin.streams.sessionEnded('show', first.sessionId, 'lost');
    expect(() => first.begin()).toThrow(problem(410, 'session_ended'));
  });

  it('gives every timeline a number of its own, also when nothing came of the one before', () => {
    const publisher = new TestPublisher(createTestOrigin());
    const numbers = [1, 2, 3].map(() => publisher.begin().grant.timeline);
    expect(new Set(numbers).size).toBe(3);
    publisher.putSegments(1);
    expect(publisher.begin().grant.firstMsn).toBeGreaterThan(Math.max(...numbers));
  });

  it('leaves numbers out after a restart, for what had not been recorded yet', () => {
    const lastMsnFloor = Date.UTC(2030, 0, 1);
    const publisher = new TestPublisher(createTestOrigin(), { lastMsnFloor }).begin();
    // Six segments may have been listed since the last record, and three numbers are left out before a new playlist.
    expect(publisher.grant.firstMsn).toBe(lastMsnFloor + 10);
  });

  it('refuses a presentation that no valid playlist can be written for, and changes nothing', () => {
    const origin = createTestOrigin();
    const first = new TestPublisher(origin).begin().putSegments(1);
    const presentation = makePresentation();
    const second = new TestPublisher(origin, { fencingToken: 2 });
    for (const bad of [
      { ...presentation, targetDurationS: 1 },
      { ...presentation, partTargetMs: 100 },
      { ...presentation, renditions: [audioRendition(), audioRendition()] },
    ])
      expect(() => second.begin({ presentation: bad })).toThrow(problem(400, 'presentation_invalid'));
    expect(first.put('720p')).toBe('stored');
  });

  it('has room for so many streams; ended ones make way', () => {
    const origin = createTestOrigin({ streamsMax: 2 });
    const [one] = ['one', 'two'].map((streamId) => new TestPublisher(origin, { streamId }).begin());
    const three = new TestPublisher(origin, { streamId: 'three' });
    expect(() => three.begin()).toThrow(problem(503, 'streams_exhausted'));
    origin.streams.sessionEnded('one', one?.sessionId ?? '', 'revoked');
    three.begin();
    expect(origin.streams.get('one')).toBeUndefined();
  });
});

describe('memory', () => {
  const partBytes = (publisher: TestPublisher): number =>
    publisher.body('720p', publisher.upload('720p')).length;

  it('is counted, and given back when the stream goes', async () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin, { liveWindowMs: 20_000 }).begin().putSegments(60);
    const gauge = async (): Promise<number | undefined> =>
      (await origin.streams.metrics.windowBytes.get()).values[0]?.value;
    const bytes = origin.streams.status('show')?.windowBytes ?? 0;
    expect(await gauge()).toBe(bytes);
    // 10 listed segments and up to 4 that are still to be served.
    expect(bytes / (18 * partBytes(publisher))).toBeGreaterThan(10);
    expect(bytes / (18 * partBytes(publisher))).toBeLessThanOrEqual(14);
    origin.streams.remove('show');
    expect(await gauge()).toBe(0);
  });

  it('is kept below the limit by letting the oldest go before their time', async () => {
    const bytes = partBytes(new TestPublisher(createTestOrigin()));
    const origin = createTestOrigin({ streamBytesMax: bytes * 18 * 8 });
    const publisher = new TestPublisher(origin, { liveWindowMs: 60_000 }).begin().putSegments(20);
    expect(origin.streams.status('show')?.windowBytes).toBeLessThanOrEqual(bytes * 18 * 8);
    for (const id of IDS) {
      const { segments } = parseStrictly(publisher.playlist(id));
      expect(segments.length).toBeGreaterThanOrEqual(6);
    }
    expect((await origin.streams.metrics.earlyEvictions.get()).values[0]?.value).toBeGreaterThan(0);
  });

  it('refuses a part that has no room even then, and lists it as a gap when the next one comes', () => {
    const bytes = partBytes(new TestPublisher(createTestOrigin()));
    const origin = createTestOrigin({ totalBytesMax: bytes * 3 });
    const publisher = new TestPublisher(origin).begin().putCells(1);
    expect(() => publisher.put('720p')).toThrow(problem(503, 'live_window_full'));
    expect(publisher.playlist('720p')).toContain(
      `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${publisher.grant.firstMsn}.1.m4s"`,
    );
  });

  it('takes from ended streams first', () => {
    const bytes = partBytes(new TestPublisher(createTestOrigin()));
    const origin = createTestOrigin({ totalBytesMax: bytes * 18 * 3 });
    const ended = new TestPublisher(origin, { streamId: 'ended' }).begin().putSegments(2);
    origin.streams.sessionEnded('ended', ended.sessionId, 'revoked');
    new TestPublisher(origin, { streamId: 'live' }).begin().putSegments(2);
    expect(origin.streams.get('ended')).toBeUndefined();
    expect(origin.streams.status('live')?.windowBytes).toBe(bytes * 36);
  });
});

describe('the end of everything', () => {
  it('answers the waiters of a deleted stream with its end', async () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putSegments(2);
    const waiting = publisher.stream.playback.playlist(
      '720p',
      { block: { ...publisher.next }, form: 'full' },
      never,
    );
    await held(origin, 1);
    origin.streams.remove('show');
    expect((await waiting).freshness).toBe('ended');
    expect(origin.streams.get('show')).toBeUndefined();
    expect(origin.clock.pendingCount).toBe(0);
  });

  it('forgets an ended stream after a while', () => {
    const origin = createTestOrigin({ endedRetentionMs: 5_000 });
    const publisher = new TestPublisher(origin).begin().putSegments(2);
    origin.streams.sessionEnded('show', publisher.sessionId, 'revoked');
    origin.clock.advance(4_999);
    expect(origin.streams.status('show')?.state).toBe('ended');
    origin.clock.advance(1);
    expect(origin.streams.status('show')).toBeUndefined();
  });

  it('answers every waiter at shutdown and leaves no timer', async () => {
    const origin = createTestOrigin();
    const publisher = new TestPublisher(origin).begin().putSegments(2);
    const waiting = publisher.stream.playback.playlist(
      '720p',
      { block: { ...publisher.next }, form: 'full' },
      never,
    );
    const outcome = waiting.catch((error: unknown) => error);
    await held(origin, 1);
    await origin.streams.close();
    await expect(outcome).resolves.toMatchObject({ status: 503, code: 'shutting_down' });
    await expect(publisher.stream.playback.playlist('720p', FULL, never)).resolves.toMatchObject({
      freshness: 'plain',
    });
    expect(origin.clock.pendingCount).toBe(0);
  });
});
