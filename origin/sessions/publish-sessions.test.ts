import { beforeEach, describe, expect, it } from 'vitest';
import type { Heartbeat, PublishGrant, TimelineRequest } from '#protocol/ingest/publish-session.ts';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics, type Metrics } from '#runtime/metrics.ts';
import type { LiveStatus, SessionEndReason, TimelineInput } from '#origin/live/live-streams.ts';
import type { OpenSession, PublishableStream } from '#origin/registry/publish-sessions-table.ts';
import { FailedAuthorisations } from '#origin/sessions/failed-authorisations.ts';
import { PublishSessions, type LiveWindow, type SessionCluster } from '#origin/sessions/publish-sessions.ts';
import { SessionJournal } from '#origin/sessions/session-journal.ts';
import { SessionUpkeep } from '#origin/sessions/session-upkeep.ts';
import { FakeSessionStore } from '#origin/testing/fake-session-store.ts';

const KEY = 'the-key-of-stream-one';
const OTHER_KEY = 'the-key-of-stream-two';
const LIVE_WINDOW_MS = 45_000;

class FakeLive implements LiveWindow {
  readonly timelines: TimelineInput[] = [];
  readonly ended: { streamId: string; sessionId: string; reason: SessionEndReason }[] = [];
  readonly removed: string[] = [];
  readonly statuses = new Map<string, LiveStatus>();

  beginTimeline(input: TimelineInput): { timeline: number; firstMsn: number } {
    this.timelines.push(input);
    return { timeline: this.timelines.length - 1, firstMsn: input.lastMsnFloor + 1 };
  }
  sessionEnded(streamId: string, sessionId: string, reason: SessionEndReason): void {
    this.ended.push({ streamId, sessionId, reason });
  }
  remove(streamId: string): void {
    this.removed.push(streamId);
  }
  status(streamId: string): LiveStatus | undefined {
    return this.statuses.get(streamId);
  }
  setStatus(streamId: string, state: LiveStatus['state'], lastMsn: number): void {
    const rest = { lastPart: 0, isStale: false, renditions: [], waiters: 0, timelines: 1, windowBytes: 0 };
    this.statuses.set(streamId, { state, lastMsn, ...rest });
  }
}

/** A clock whose process was paused: every callback that fell due meanwhile comes late, at once. */
class PausableClock extends FakeClock {
  #pausedMs = 0;
  override monotonicMs(): number {
    return super.monotonicMs() + this.#pausedMs;
  }
  pause(ms: number): void {
    this.#pausedMs += ms;
    this.advance(0);
  }
}

let clock: PausableClock;
let store: FakeSessionStore;
let live: FakeLive;
let metrics: Metrics;
let journal: SessionJournal;
let sessions: PublishSessions;

beforeEach(() => {
  clock = new PausableClock();
  store = new FakeSessionStore();
  store.addKey(KEY, 'one');
  store.addKey(OTHER_KEY, 'two');
  live = new FakeLive();
  ({ sessions, journal } = startSessions());
});

function startSessions(): { sessions: PublishSessions; journal: SessionJournal } {
  const logger = createLogger('test', 'silent');
  metrics = createMetrics('test');
  const write = store.record.bind(store);
  const newJournal = new SessionJournal({ clock, logger, metrics, write });
  const failures = new FailedAuthorisations({ perMinute: 3, addressesMax: 10 }, { clock, metrics });
  const deps = { clock, logger, metrics, store, journal: newJournal, failures, live };
  return { sessions: new PublishSessions({ liveWindowMs: LIVE_WINDOW_MS }, deps), journal: newJournal };
}

const publish = (streamKey = KEY, remoteAddress = '192.0.2.1'): Promise<PublishGrant> =>
  sessions.authorise({ streamKey, remoteAddress });

/** A heartbeat every second for as long as told. */
function beat(sessionId: string, seconds: number, heartbeat: Heartbeat = {}): void {
  for (let second = 0; second < seconds; second++) {
    clock.advance(1_000);
    sessions.heartbeat(sessionId, heartbeat);
  }
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

const timelineRequest = (fencingToken: number, anchorUtcMs = clock.nowMs()): TimelineRequest => ({
  fencingToken,
  anchorUtcMs,
  presentation: {
    segmentDuration: { ticks: 2, timescale: 1 },
    partsPerSegment: 6,
    partTargetMs: 350,
    targetDurationS: 2,
    renditions: [
      {
        id: 'audio',
        kind: 'audio',
        codecs: 'mp4a.40.2',
        timescale: 48_000,
        bitrateBps: 128_000,
        channels: 2,
        sampleRateHz: 48_000,
      },
    ],
  },
});

describe('authorising', () => {
  it('grants what the stream asks for', async () => {
    store.addKey('another-key', 'three', {
      segmentDurationMs: 1_000,
      partDurationMs: 200,
      ladder: { copy: true },
    });
    const grant = await publish('another-key');
    expect(grant).toMatchObject({
      streamId: 'three',
      fencingToken: 1,
      segmentDurationMs: 1_000,
      partDurationMs: 200,
      ladder: { copy: true },
    });
    expect(grant).not.toHaveProperty('keyId');
  });

  it('names the renditions of the playlist that the session goes on with', async () => {
    const rendition = (id: string, kind: 'video' | 'audio', width: number | null, height: number | null) => ({
      id,
      kind,
      width,
      height,
      codecs: '',
      frameRate: null,
      nominalBitrateBps: 800_000,
      averageBitrateBps: null,
      peakBitrateBps: null,
      storeLatencyMs: null,
      lastMsn: 9,
      lastPart: 0,
    });
    live.setStatus('one', 'reconnecting', 9);
    const status: LiveStatus = {
      ...(live.status('one') as LiveStatus),
      renditions: [
        rendition('source', 'video', 640, 360),
        rendition('180p', 'video', 180, 320),
        rendition('audio', 'audio', null, null),
      ],
    };
    live.statuses.set('one', status);
    expect((await publish(KEY)).renditionsToKeep).toEqual([{ id: '180p', height: 180, bitrateBps: 800_000 }]);
    live.statuses.set('two', { ...status, state: 'ended' });
    expect(await publish(OTHER_KEY)).not.toHaveProperty('renditionsToKeep');
  });

  it('refuses a key that nobody has', async () => {
    await expect(publish('no-such-key')).rejects.toMatchObject({ status: 403, code: 'stream_key_unknown' });
  });

  it('slows down an address that guesses, and no other', async () => {
    for (let guess = 0; guess < 3; guess++)
      await expect(publish(`guess-${guess}`)).rejects.toMatchObject({ status: 403 });
    const before = store.calls;
    await expect(publish()).rejects.toMatchObject({ status: 429, headers: { 'retry-after': '20' } });
    expect(store.calls).toBe(before);
    await expect(publish(KEY, '192.0.2.2')).resolves.toMatchObject({ streamId: 'one' });
  });

  it('lets one publisher have a stream while it is alive', async () => {
    const first = await publish();
    beat(first.sessionId, 30);
    await expect(publish()).rejects.toMatchObject({ status: 409, code: 'stream_busy' });
    expect(live.ended).toEqual([]);
    expect(() => sessions.heartbeat(first.sessionId, {})).not.toThrow();
  });

  it('lets one of two that come together have a stream', async () => {
    const results = await Promise.allSettled([publish(), publish(), publish(OTHER_KEY)]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('gives larger fencing tokens each time', async () => {
    const first = await publish();
    sessions.end('one', {
      sessionId: first.sessionId,
      fencingToken: first.fencingToken,
      reason: 'unpublished',
    });
    const second = await publish();
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
    expect(second.sessionId).not.toBe(first.sessionId);
  });

  it('fails without the database, and leaves the stream free', async () => {
    store.isAway = true;
    await expect(publish()).rejects.toMatchObject({ code: 'database_unavailable' });
    store.isAway = false;
    await expect(publish()).resolves.toMatchObject({ streamId: 'one' });
  });

  it('records a session as ended whose opening may or may not have got into the database', async () => {
    const opened = store.open.bind(store);
    store.open = async (...args) => {
      await opened(...args);
      throw new Error('the connection was lost during the commit');
    };
    await expect(publish()).rejects.toThrow('lost');
    await journal.flush();
    expect(store.progress).toMatchObject([{ endReason: 'error' }]);
  });

  it('counts every answer', async () => {
    await publish();
    await publish().catch(() => undefined);
    await publish('no-such-key').catch(() => undefined);
    const counted = await metrics.getSingleMetric('origin_publish_authorisations_total')?.get();
    expect(counted?.values.map(({ labels, value }) => [labels['result'], value])).toEqual([
      ['granted', 1],
      ['stream_busy', 1],
      ['stream_key_unknown', 1],
    ]);
  });
});

describe('heartbeats', () => {
  it('keep a session alive, without the database being asked', async () => {
    const { sessionId } = await publish();
    const before = store.calls;
    beat(sessionId, 600);
    expect(sessions.status('one')?.sessionId).toBe(sessionId);
    expect(store.calls).toBe(before);
  });

  it('that are missed for 3 s end the session, and its key is free', async () => {
    const { sessionId } = await publish();
    beat(sessionId, 5);
    clock.advance(2_999);
    expect(live.ended).toEqual([]);
    clock.advance(1);
    expect(live.ended).toEqual([{ streamId: 'one', sessionId, reason: 'lost' }]);
    expect(() => sessions.heartbeat(sessionId, {})).toThrow(expect.objectContaining({ status: 410 }));
    await expect(publish()).resolves.toMatchObject({ streamId: 'one' });
  });

  it('must begin: a grant that is never used ends too', async () => {
    await publish();
    clock.advance(3_000);
    expect(live.ended).toMatchObject([{ reason: 'lost' }]);
  });

  it('do not depend on the wall clock', async () => {
    const { sessionId } = await publish();
    clock.stepWallClock(600_000);
    beat(sessionId, 3);
    clock.stepWallClock(-1_200_000);
    beat(sessionId, 3);
    expect(live.ended).toEqual([]);
  });

  it('may lie unread while this process is paused: then they get another 3 s', async () => {
    const { sessionId } = await publish();
    clock.advance(1_000);
    clock.pause(60_000);
    clock.advance(2_999);
    expect(live.ended).toEqual([]);
    sessions.heartbeat(sessionId, {});
    clock.advance(2_999);
    expect(live.ended).toEqual([]);
    clock.advance(1);
    expect(live.ended).toMatchObject([{ reason: 'lost' }]);
  });

  it('tell what the broadcaster sends', async () => {
    const { sessionId } = await publish();
    const source = {
      videoCodec: 'avc1',
      audioCodec: null,
      width: 1280,
      height: 720,
      frameRate: 30,
      bitrateBps: 3_000_000,
    };
    beat(sessionId, 1, { source });
    beat(sessionId, 1);
    expect(sessions.status('one')?.source).toEqual(source);
  });

  it('of a session that never was are answered 410', () => {
    expect(() => sessions.heartbeat('4f8c5b0e-0000-4000-8000-000000000000', {})).toThrow(
      expect.objectContaining({ status: 410, code: 'session_ended' }),
    );
  });
});

describe('timelines', () => {
  it('are begun with all that the live window needs to know', async () => {
    store.addKey('another-key', 'three', { lastMsn: 4_711, reconnectWindowS: 5 });
    const grant = await publish('another-key');
    const request = timelineRequest(grant.fencingToken);
    expect(sessions.beginTimeline(grant.sessionId, request)).toEqual({ timeline: 0, firstMsn: 4_712 });
    expect(live.timelines).toEqual([
      {
        streamId: 'three',
        sessionId: grant.sessionId,
        fencingToken: grant.fencingToken,
        anchorUtcMs: request.anchorUtcMs,
        presentation: request.presentation,
        lastMsnFloor: 4_711,
        reconnectWindowMs: 5_000,
        recording: { dvrWindowMs: 0, retentionMs: 0 },
        liveWindowMs: LIVE_WINDOW_MS,
      },
    ]);
  });

  it('are recorded with their anchor, the first of them for the session', async () => {
    const grant = await publish();
    const request = timelineRequest(grant.fencingToken);
    sessions.beginTimeline(grant.sessionId, request);
    await journal.flush();
    const { sessionId } = grant;
    expect(store.progress).toEqual([
      { sessionId, anchorUtcMs: request.anchorUtcMs, firstMsn: 1, lastMsn: 1 },
    ]);
  });

  it('go on without the database', async () => {
    const grant = await publish();
    store.isAway = true;
    expect(sessions.beginTimeline(grant.sessionId, timelineRequest(grant.fencingToken)).timeline).toBe(0);
    beat(grant.sessionId, 10);
    expect(sessions.beginTimeline(grant.sessionId, timelineRequest(grant.fencingToken)).timeline).toBe(1);
    await settle();
    store.isAway = false;
    await journal.flush();
    expect(store.progress).toMatchObject([{ sessionId: grant.sessionId }]);
  });

  it.each([-1, 1])('are refused with another fencing token than the session’s (%i)', async (difference) => {
    const first = await publish();
    clock.advance(3_000);
    const second = await publish();
    const request = timelineRequest(second.fencingToken + difference);
    expect(() => sessions.beginTimeline(second.sessionId, request)).toThrow(
      expect.objectContaining({ status: 409, code: 'fencing_token_stale' }),
    );
    expect(() => sessions.beginTimeline(first.sessionId, timelineRequest(first.fencingToken))).toThrow(
      expect.objectContaining({ status: 410, code: 'session_ended' }),
    );
    expect(live.timelines).toEqual([]);
  });

  it('are refused when the ingest’s clock is hours away', async () => {
    const grant = await publish();
    const wild = timelineRequest(grant.fencingToken, clock.nowMs() + 3_600_001);
    expect(() => sessions.beginTimeline(grant.sessionId, wild)).toThrow(
      expect.objectContaining({ status: 422, code: 'anchor_implausible' }),
    );
    const slow = timelineRequest(grant.fencingToken, clock.nowMs() - 600_000);
    expect(sessions.beginTimeline(grant.sessionId, slow).timeline).toBe(0);
  });
});

describe('the end of a session', () => {
  it.each(['unpublished', 'lost', 'error'] as const)('is passed on with its reason: %s', async (reason) => {
    const { sessionId, fencingToken } = await publish();
    live.setStatus('one', 'live', 99);
    sessions.end('one', { sessionId, fencingToken, reason });
    expect(live.ended).toEqual([{ streamId: 'one', sessionId, reason }]);
    await journal.close();
    expect(store.progress).toEqual([{ sessionId, endedAtMs: clock.nowMs(), endReason: reason, lastMsn: 99 }]);
    expect(clock.pendingCount).toBe(0);
  });

  it('may be reported again', async () => {
    const { sessionId, fencingToken } = await publish();
    const request = { sessionId, fencingToken, reason: 'unpublished' } as const;
    sessions.end('one', request);
    sessions.end('one', request);
    expect(live.ended).toHaveLength(1);
  });

  it('cannot be reported by another stream or token', async () => {
    const { sessionId, fencingToken } = await publish();
    const end = (streamId: string, token: number) => () =>
      sessions.end(streamId, { sessionId, fencingToken: token, reason: 'unpublished' });
    expect(end('two', fencingToken)).toThrow(expect.objectContaining({ status: 404 }));
    expect(end('one', fencingToken - 1)).toThrow(expect.objectContaining({ status: 409 }));
    expect(live.ended).toEqual([]);
  });
});

describe('changes of a stream', () => {
  it('that take the key away end the publish', async () => {
    const { sessionId } = await publish();
    store.keys.delete(KEY);
    await sessions.keysChanged('one');
    expect(live.ended).toEqual([{ streamId: 'one', sessionId, reason: 'revoked' }]);
    expect(() => sessions.heartbeat(sessionId, {})).toThrow(expect.objectContaining({ status: 410 }));
  });

  it('that leave the key valid let it go on', async () => {
    const { sessionId } = await publish();
    store.addKey('a-second-key', 'one');
    await sessions.keysChanged('one');
    expect(sessions.status('one')?.sessionId).toBe(sessionId);
  });

  it('that nobody told us of end the publish within 5 s, by one look for all sessions', async () => {
    const logger = createLogger('test', 'silent');
    const upkeep = new SessionUpkeep({ clock, logger, sessions, store, journal, live });
    const one = await publish();
    const two = await publish(OTHER_KEY);
    store.keys.delete(KEY);
    const before = store.calls;
    for (let second = 0; second < 4; second++) {
      clock.advance(1_000);
      if (sessions.status('one') !== undefined) sessions.heartbeat(one.sessionId, {});
      sessions.heartbeat(two.sessionId, {});
      await settle();
    }
    expect(live.ended).toEqual([{ streamId: 'one', sessionId: one.sessionId, reason: 'revoked' }]);
    expect(store.calls - before).toBeLessThanOrEqual(3);
    upkeep.close();
  });

  it('delete the stream with all that is live of it', async () => {
    const { sessionId } = await publish();
    sessions.streamDeleted('one');
    expect(live.ended).toEqual([{ streamId: 'one', sessionId, reason: 'revoked' }]);
    expect(live.removed).toEqual(['one']);
    expect(sessions.publishedStreams()).toEqual([]);
  });

  it('of the reconnect window count from the next timeline on', async () => {
    const { sessionId, fencingToken } = await publish();
    sessions.streamChanged({
      id: 'one',
      name: 'One',
      ladder: {},
      segmentDurationMs: 2_000,
      partDurationMs: 333,
      reconnectWindowS: 7,
      dvrWindowS: 0,
      retentionS: 0,
      access: 'public',
      createdAtMs: 0,
      updatedAtMs: 0,
    });
    sessions.beginTimeline(sessionId, timelineRequest(fencingToken));
    expect(live.timelines[0]?.reconnectWindowMs).toBe(7_000);
  });
});

describe('a restart of the origin', () => {
  const restart = async (): Promise<void> => {
    const open = store.keys.get(KEY);
    if (open === undefined) throw new Error('no such key');
    const grant = await publish();
    sessions.close();
    store.openSessions = [
      { ...open, ...grant, remoteAddress: '192.0.2.1', startedAtMs: clock.nowMs(), lastMsn: 50 },
    ];
    ({ sessions, journal } = startSessions());
    sessions.resume(await store.resume());
  };
  const resumed = (): { sessionId: string; fencingToken: number } => {
    const [session] = store.openSessions;
    if (session === undefined) throw new Error('nothing was resumed');
    return session;
  };

  it('is survived by a session whose heartbeats go on', async () => {
    await restart();
    const { sessionId, fencingToken } = resumed();
    expect(sessions.status('one')).toBeUndefined();
    beat(sessionId, 5);
    expect(sessions.status('one')?.sessionId).toBe(sessionId);
    expect(sessions.beginTimeline(sessionId, timelineRequest(fencingToken)).firstMsn).toBe(51);
    await expect(publish()).rejects.toMatchObject({ code: 'stream_busy' });
  });

  it('ends a session that is not heard of', async () => {
    await restart();
    clock.advance(3_000);
    expect(live.ended).toMatchObject([{ reason: 'lost' }]);
    await journal.flush();
    expect(store.progress).toMatchObject([{ sessionId: resumed().sessionId, endReason: 'lost' }]);
  });

  it('does not keep a broadcaster waiting that connects anew', async () => {
    await restart();
    const grant = await publish();
    expect(live.ended).toEqual([{ streamId: 'one', sessionId: resumed().sessionId, reason: 'lost' }]);
    beat(grant.sessionId, 10);
    expect(sessions.status('one')?.sessionId).toBe(grant.sessionId);
  });
});

describe('what is known of streams that are or were just live', () => {
  it('stays while the playlist waits for the broadcaster, and is forgotten when it has ended', async () => {
    const { sessionId, fencingToken } = await publish();
    live.setStatus('one', 'live', 5);
    expect(sessions.newest('one')?.sessionId).toBe(sessionId);
    sessions.end('one', { sessionId, fencingToken, reason: 'lost' });
    live.setStatus('one', 'reconnecting', 7);
    expect(sessions.newest('one')?.sessionId).toBe(sessionId);
    expect(sessions.publishedStreams()).toEqual(['one']);
    live.setStatus('one', 'ended', 7);
    expect(sessions.newest('one')).toBeUndefined();
    expect(sessions.publishedStreams()).toEqual([]);
  });

  it('is recorded every 10 s, the gaps after the end included', async () => {
    const logger = createLogger('test', 'silent');
    const upkeep = new SessionUpkeep({ clock, logger, sessions, store, journal, live });
    const { sessionId, fencingToken } = await publish();
    live.setStatus('one', 'live', 20);
    beat(sessionId, 10);
    await journal.flush();
    expect(store.progress).toEqual([{ sessionId, lastMsn: 20 }]);
    sessions.end('one', { sessionId, fencingToken, reason: 'lost' });
    live.setStatus('one', 'reconnecting', 25);
    clock.advance(10_000);
    live.setStatus('one', 'ended', 25);
    clock.advance(20_000);
    await journal.flush();
    const recorded = Object.assign({}, ...store.progress) as object;
    expect(recorded).toMatchObject({ sessionId, endReason: 'lost', lastMsn: 25 });
    const before = store.progress.length;
    clock.advance(60_000);
    await journal.flush();
    expect(store.progress).toHaveLength(before);
    upkeep.close();
  });
});

describe('where other origins share the sessions', () => {
  let placed: TimelineInput[];
  const opened = (sessionId: string, fencingToken = 7): OpenSession => ({
    ...(store.keys.get(KEY) as PublishableStream),
    sessionId,
    fencingToken,
    remoteAddress: '192.0.2.9',
    startedAtMs: clock.nowMs(),
  });
  const SESSION = '11111111-1111-4111-8111-111111111111';

  beforeEach(() => {
    placed = [];
    const logger = createLogger('test', 'silent');
    metrics = createMetrics('test');
    const failures = new FailedAuthorisations({ perMinute: 3, addressesMax: 10 }, { clock, metrics });
    const cluster: SessionCluster = {
      beginTimeline: (input) => {
        placed.push(input);
        return Promise.resolve({ timeline: 9, firstMsn: 9, origins: ['http://a', 'http://b'] });
      },
      sessionOf: (streamId) =>
        streamId === 'elsewhere'
          ? { sessionId: SESSION, startedAtMs: 1, remoteAddress: '192.0.2.3', source: null }
          : undefined,
      streams: () => ['elsewhere'],
    };
    journal = new SessionJournal({ clock, logger, metrics, write: store.record.bind(store) });
    const deps = { clock, logger, metrics, store, journal, failures, live, cluster };
    sessions = new PublishSessions({ liveWindowMs: LIVE_WINDOW_MS }, deps);
  });

  it('takes up a session that another origin has looked after, and goes on with it', async () => {
    store.elsewhere.set(SESSION, opened(SESSION));
    await sessions.takeUp(SESSION);
    sessions.heartbeat(SESSION, {});
    expect(sessions.statuses()).toMatchObject([{ streamId: 'one', sessionId: SESSION }]);
    const grant = await sessions.placeTimeline(SESSION, timelineRequest(7));
    expect(grant.origins).toEqual(['http://a', 'http://b']);
    expect(placed).toMatchObject([{ streamId: 'one', sessionId: SESSION, fencingToken: 7 }]);
  });

  it('refuses one that no origin has open, and asks the database once for each that it has', async () => {
    await sessions.takeUp(SESSION);
    expect(() => sessions.heartbeat(SESSION, {})).toThrow(expect.objectContaining({ code: 'session_ended' }));
    const { sessionId } = await publish();
    const before = store.calls;
    await sessions.takeUp(sessionId);
    expect(store.calls).toBe(before);
  });

  it('does not take up a session that a newer one of its stream has followed', async () => {
    store.elsewhere.set(SESSION, opened(SESSION, 0));
    const { sessionId } = await publish();
    await sessions.takeUp(SESSION);
    expect(sessions.has(SESSION)).toBe(false);
    expect(sessions.has(sessionId)).toBe(true);
  });

  it('does not end a silent session that another origin has taken over', async () => {
    const { sessionId } = await publish();
    store.gone.add(sessionId);
    clock.advance(4_000);
    await settle();
    expect(sessions.has(sessionId)).toBe(false);
    expect(live.ended).toEqual([]);
  });

  it('ends a silent session that nobody has taken over, also when the database is away', async () => {
    const { sessionId } = await publish();
    store.isAway = true;
    clock.advance(4_000);
    await settle();
    expect(live.ended).toEqual([{ streamId: 'one', sessionId, reason: 'lost' }]);
  });

  it('forgets what it finds to have moved', async () => {
    const { sessionId } = await publish();
    store.gone.add(sessionId);
    await sessions.forgetMoved();
    expect(sessions.list()).toEqual([]);
    expect(live.ended).toEqual([]);
  });

  it('writes down every second that a session is alive', async () => {
    const { sessionId } = await publish();
    beat(sessionId, 3);
    await journal.flush();
    expect(store.progress.filter(({ isAlive }) => isAlive).length).toBeGreaterThan(0);
  });

  it('shows the sessions and streams of others', () => {
    expect(sessions.status('elsewhere')?.sessionId).toBe(SESSION);
    expect(sessions.newest('elsewhere')?.sessionId).toBe(SESSION);
    expect(sessions.publishedStreams()).toEqual(['elsewhere']);
  });
});
