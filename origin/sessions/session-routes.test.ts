import { describe, expect, it } from 'vitest';
import { TimelineGrant, type PublishGrant } from '#protocol/ingest/publish-session.ts';
import { FakeClock } from '#runtime/clock.ts';
import { onError } from '#runtime/http/problem.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { DEFAULT_LIVE_SETTINGS } from '#origin/live/live-settings.ts';
import { LiveStreams } from '#origin/live/live-streams.ts';
import { FailedAuthorisations } from '#origin/sessions/failed-authorisations.ts';
import { PublishSessions } from '#origin/sessions/publish-sessions.ts';
import { SessionJournal } from '#origin/sessions/session-journal.ts';
import { createSessionRoutes } from '#origin/sessions/session-routes.ts';
import { FakeSessionStore } from '#origin/testing/fake-session-store.ts';

const TOKEN = 'the-ingest-token';
const UNKNOWN_SESSION = '4f8c5b0e-0000-4000-8000-000000000000';

function create() {
  const clock = new FakeClock();
  const logger = createLogger('test', 'silent');
  const metrics = createMetrics('test');
  const store = new FakeSessionStore();
  store.addKey('the-key', 'one');
  const live = new LiveStreams(DEFAULT_LIVE_SETTINGS, { clock, logger, metrics });
  const journal = new SessionJournal({ clock, logger, metrics, write: store.record.bind(store) });
  const failures = new FailedAuthorisations({ perMinute: 10, addressesMax: 10 }, { clock, metrics });
  const deps = { clock, logger, metrics, store, journal, failures, live };
  const sessions = new PublishSessions({ liveWindowMs: 30_000 }, deps);
  const app = createSessionRoutes(sessions, { ingestToken: TOKEN });
  app.onError(onError(() => expect.unreachable()));
  const post = async (path: string, body: unknown, token = TOKEN) => {
    const response = await app.request(`/ingest/v1/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as PublishGrant & { code?: string } };
  };
  const publish = () => post('sessions', { streamKey: 'the-key', remoteAddress: '192.0.2.1' });
  return { app, clock, post, publish };
}

describe('the calls of an ingest', () => {
  it('follow a publish from its key to its end', async () => {
    const { clock, post, publish } = create();
    const granted = await publish();
    expect(granted.status).toBe(201);
    const { sessionId, fencingToken, streamId } = granted.body;
    const source = {
      videoCodec: 'avc1',
      audioCodec: 'mp4a',
      width: 1_280,
      height: 720,
      frameRate: 29.97,
      bitrateBps: 3_000_000,
    };
    expect((await post(`sessions/${sessionId}/heartbeat`, { source })).status).toBe(200);
    const timeline = { fencingToken, anchorUtcMs: clock.nowMs(), presentation: makePresentation() };
    const begun = await post(`sessions/${sessionId}/timelines`, timeline);
    expect(begun.status).toBe(201);
    expect(TimelineGrant.safeParse(begun.body).success).toBe(true);
    const end = { sessionId, fencingToken, reason: 'unpublished' };
    expect((await post(`${streamId}/end`, end)).status).toBe(200);
    expect((await post(`${streamId}/end`, end)).status).toBe(200);
    expect(await post(`sessions/${sessionId}/heartbeat`, {})).toMatchObject({
      status: 410,
      body: { code: 'session_ended' },
    });
    expect((await post(`sessions/${sessionId}/timelines`, timeline)).status).toBe(410);
  });

  it.each<[string, string, unknown]>([
    ['no key', 'sessions', { remoteAddress: '' }],
    ['an empty key', 'sessions', { streamKey: '', remoteAddress: '' }],
    ['a key of 257 characters', 'sessions', { streamKey: 'x'.repeat(257), remoteAddress: '' }],
    ['an unknown field', 'sessions', { streamKey: 'the-key', remoteAddress: '', more: 1 }],
    ['a session id that is none', 'sessions/1/heartbeat', {}],
    ['a source that is half described', `sessions/${UNKNOWN_SESSION}/heartbeat`, { source: { width: 1 } }],
    ['a timeline of nothing', `sessions/${UNKNOWN_SESSION}/timelines`, { fencingToken: 1, anchorUtcMs: 0 }],
    ['an end without a reason', 'one/end', { sessionId: UNKNOWN_SESSION, fencingToken: 1 }],
    [
      'a stream id that is none',
      'a%2Fb/end',
      { sessionId: UNKNOWN_SESSION, fencingToken: 1, reason: 'lost' },
    ],
  ])('with %s are answered 400', async (_, path, body) => {
    const { post } = create();
    expect(await post(path, body)).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
  });

  it.each([
    'sessions',
    `sessions/${UNKNOWN_SESSION}/heartbeat`,
    `sessions/${UNKNOWN_SESSION}/timelines`,
    'one/end',
  ])('to %s need the ingest token, and POST', async (path) => {
    const { app, post } = create();
    expect((await post(path, {}, 'another-token')).status).toBe(401);
    const response = await app.request(`/ingest/v1/${path}`, { method: 'GET' });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
  });

  it('for a stream that is being published are refused, and for a key that nobody has', async () => {
    const { post, publish } = create();
    await publish();
    expect(await publish()).toMatchObject({ status: 409, body: { code: 'stream_busy' } });
    const unknown = await post('sessions', { streamKey: 'no-such-key', remoteAddress: '192.0.2.1' });
    expect(unknown).toMatchObject({ status: 403, body: { code: 'stream_key_unknown' } });
  });
});
