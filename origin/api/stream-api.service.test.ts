import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePresentation } from '#origin/live/testing/synthetic-media.ts';
import { OriginUnderTest, type ApiStream, type Problem } from '#origin/testing/origin-under-test.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { seededRandom } from '#tests/support/seeded-random.ts';
import { waitFor } from '#tests/support/wait-for.ts';

describe.skipIf(hasNoPostgres)('the stream API', () => {
  let postgres: TestPostgres;
  let origin: OriginUnderTest;
  beforeAll(async () => {
    postgres = await startTestPostgres();
    origin = await OriginUnderTest.start(
      { RTMP_PUBLIC_URL: 'rtmp://in-a.example/live, rtmp://in-b.example/live', ORIGIN_STREAMS_MAX: '40' },
      { database: postgres.open({}, await postgres.createDatabase()) },
    );
  });
  afterAll(async () => {
    await origin.close();
    await postgres.close();
  });

  const create = (body: object, headers: Record<string, string> = {}) =>
    origin.call<ApiStream & Problem>('POST', '/api/v1/streams', { body, headers });
  const patch = (id: string, body: object) =>
    origin.call<ApiStream & Problem>('PATCH', `/api/v1/streams/${id}`, { body });
  const rotate = (id: string, body?: object, headers: Record<string, string> = {}) =>
    origin.call<ApiStream & Problem>('POST', `/api/v1/streams/${id}/keys`, {
      headers,
      ...(body === undefined ? {} : { body }),
    });
  const mayPublish = async (streamKey: string): Promise<boolean> => {
    const { status, body } = await origin.authorise(streamKey);
    if (status !== 201) return false;
    const { sessionId, fencingToken } = body;
    await origin.ingest(`${body.streamId}/end`, { sessionId, fencingToken, reason: 'unpublished' });
    return true;
  };

  describe('POST /api/v1/streams', () => {
    it('makes a stream and shows its key this once', async () => {
      const { status, headers, body } = await create({ name: 'Evening show', reconnectWindow: 10 });
      expect(status).toBe(201);
      expect(headers.get('location')).toBe(`/api/v1/streams/${body.id}`);
      expect(headers.get('cache-control')).toBe('no-store');
      expect(body.streamKey).toMatch(/^live_[a-z2-7]{12}_[A-Za-z0-9_-]{43}$/);
      expect(body).toMatchObject({
        name: 'Evening show',
        status: 'offline',
        ingest: ['rtmp://in-a.example/live', 'rtmp://in-b.example/live'],
        publishUrls: [
          `rtmp://in-a.example/live/${body.streamKey}`,
          `rtmp://in-b.example/live/${body.streamKey}`,
        ],
        playback: { hls: `${origin.origin.url}/live/${body.id}/master.m3u8` },
        ladder: {},
        segmentDurationMs: 2_000,
        partDurationMs: 333,
        reconnectWindow: 10,
        video: null,
        latencyMs: null,
        viewersWaiting: 0,
      });
      expect(await mayPublish(body.streamKey)).toBe(true);
      for (const path of [
        `/api/v1/streams/${body.id}`,
        '/api/v1/streams',
        `/api/v1/streams/${body.id}/stats`,
      ])
        expect((await origin.call('GET', path)).text).not.toContain(body.streamKey);
    });

    it('needs no body at all', async () => {
      const { status, body } = await origin.call<ApiStream>('POST', '/api/v1/streams');
      expect([status, body.name]).toEqual([201, body.id]);
    });

    it('takes the id and the key that the client chooses', async () => {
      const { body } = await create({ id: 'chosen_id-1', streamKey: 'a.key~of_my-own1' });
      expect([body.id, body.streamKey]).toEqual(['chosen_id-1', 'a.key~of_my-own1']);
      expect(await mayPublish('a.key~of_my-own1')).toBe(true);
    });

    it('refuses an id or a key that is taken, and makes nothing', async () => {
      await create({ id: 'taken', streamKey: 'a-key-that-is-taken' });
      expect(await create({ id: 'taken' })).toMatchObject({ status: 409, body: { code: 'stream_exists' } });
      const other = await create({ id: 'other', streamKey: 'a-key-that-is-taken' });
      expect(other).toMatchObject({ status: 409, body: { code: 'stream_key_taken' } });
      expect((await origin.call('GET', '/api/v1/streams/other')).status).toBe(404);
    });

    it('makes one stream of two requests for the same id at the same time', async () => {
      const answers = await Promise.all([create({ id: 'raced' }), create({ id: 'raced' })]);
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201, 409]));
    });

    it('refuses one more stream than there may be', async () => {
      const full = await OriginUnderTest.start(
        { ORIGIN_STREAMS_MAX: '1' },
        { database: postgres.open({}, await postgres.createDatabase()) },
      );
      await full.createStream();
      const refused = await full.call<Problem>('POST', '/api/v1/streams', { body: {} });
      expect(refused).toMatchObject({ status: 409, body: { code: 'streams_exhausted' } });
      await full.close();
    });
  });

  describe('what is not acceptable', () => {
    it.each<[string, object, string[]]>([
      ['an unknown field', { nmae: 'x' }, ['nmae']],
      ['a number for a name', { name: 7 }, ['name']],
      ['an empty name', { name: '' }, ['name']],
      ['a long name', { name: 'x'.repeat(121) }, ['name']],
      ['a name with a line break', { name: 'a\nb' }, ['name']],
      ['a name with a zero byte', { name: 'a\0b' }, ['name']],
      ['a name of half a character', { name: '\ud800' }, ['name']],
      ['an id with a slash', { id: 'a/b' }, ['id']],
      ['an id of dots', { id: '..' }, ['id']],
      ['a long id', { id: 'x'.repeat(65) }, ['id']],
      ['a short key', { streamKey: 'x'.repeat(15) }, ['streamKey']],
      ['a key with a slash', { streamKey: 'aaaaaaaaaaaaaaaaaaaa/b' }, ['streamKey']],
      ['a long key', { streamKey: 'x'.repeat(129) }, ['streamKey']],
      ['a segment duration of 999 ms', { segmentDurationMs: 999 }, ['segmentDurationMs']],
      ['a segment duration of 6001 ms', { segmentDurationMs: 6_001 }, ['segmentDurationMs']],
      ['a segment duration in text', { segmentDurationMs: '2000' }, ['segmentDurationMs']],
      ['a part duration of 199 ms', { partDurationMs: 199 }, ['partDurationMs']],
      ['a part duration of 1001 ms', { partDurationMs: 1_001 }, ['partDurationMs']],
      ['half a millisecond', { partDurationMs: 333.5 }, ['partDurationMs']],
      ['a reconnect window below 0', { reconnectWindow: -1 }, ['reconnectWindow']],
      ['a reconnect window of 1801 s', { reconnectWindow: 1_801 }, ['reconnectWindow']],
      ['a reconnect window in ms', { reconnectWindowMs: 1_000 }, ['reconnectWindowMs']],
      ['an unknown preset', { ladder: { preset: 'placebo' } }, ['ladder.preset']],
      ['an unknown field of the ladder', { ladder: { crf: 20 } }, ['ladder.crf']],
      ['a rung without a bitrate', { ladder: { rungs: [{ height: 720 }] } }, ['ladder.rungs.0.bitrateBps']],
      ['no rung at all', { ladder: { rungs: [] } }, ['ladder.rungs']],
      [
        'two rungs of the same height',
        { ladder: { rungs: [720, 720].map((height) => ({ height, bitrateBps: 1_000_000 })) } },
        ['ladder.rungs.1.height'],
      ],
      [
        'nine rungs',
        {
          ladder: { rungs: Array.from({ length: 9 }, (_, n) => ({ height: 100 + n, bitrateBps: 100_000 })) },
        },
        ['ladder.rungs'],
      ],
      ['null for a field', { name: null }, ['name']],
      ['everything at once', { name: 1, reconnectWindow: 'x', more: 1 }, ['name', 'reconnectWindow', 'more']],
    ])('%s is answered 400 by field, when made and when changed', async (_, body, fields) => {
      const made = await create(body);
      expect(made.status).toBe(400);
      expect(made.headers.get('content-type')).toBe('application/problem+json');
      expect(made.body.code).toBe('validation_failed');
      const named = made.body.errors?.map(({ field }) => field) ?? [];
      expect([...new Set(named)].toSorted()).toEqual(fields.toSorted());
      expect((await patch('no-such-stream', body)).status).toBe(400);
    });

    it('durations that do not fit every usual frame rate are refused with the nearest that do', async () => {
      const refused = await create({ segmentDurationMs: 1_100, partDurationMs: 200 });
      expect(refused.status).toBe(400);
      expect(refused.body.errors?.[0]?.message).toMatch(
        /nearest .* are parts of \d+ ms in segments of \d+ ms/,
      );
      const { id } = await origin.createStream({ segmentDurationMs: 1_100 });
      expect((await patch(id, { partDurationMs: 200 })).status).toBe(400);
      expect(await origin.getStream(id)).toMatchObject({ partDurationMs: 333 });
    });

    it.each([
      ['a list', '[]', 400],
      ['a string', '"x"', 400],
      ['no JSON', '{"name":', 400],
      ['JSON that is too long', JSON.stringify({ name: 'x'.repeat(70_000) }), 413],
    ])('%s as a body', async (_, body, status) => {
      expect((await origin.call('POST', '/api/v1/streams', { body })).status).toBe(status);
    });

    it('whatever is sent is answered, and never by 5xx', async () => {
      const seed = 0x5eed;
      const random = seededRandom(seed);
      const pick = <Value>(from: readonly Value[]): Value =>
        from[Math.floor(random() * from.length)] as Value;
      const unexpected: string[] = [];
      const values = [null, '', 'x', -1, 1e308, 2_000, [], {}, true, '\u0000', 'é'.repeat(300), { $ne: 1 }];
      const names = [
        'id',
        'name',
        'streamKey',
        'ladder',
        'segmentDurationMs',
        'grace',
        '__proto__',
        'constructor',
      ];
      for (let round = 0; round < 200; round++) {
        const method = pick(['GET', 'POST', 'PATCH', 'DELETE', 'PUT']);
        const id = pick(['x', '%00', '..', "'", '%F0%9F%92%A5', 'a'.repeat(300), '%', '']);
        const path = `/api/v1/streams/${id}${pick(['', '/keys', '/stats', '/', '/keys/x', '?limit=1&x=%00'])}`;
        const json = JSON.stringify(Object.fromEntries([[pick(names), pick(values)]]));
        const body = method === 'GET' ? undefined : pick([json, json.slice(1), '', '\u0000', '"', json]);
        const answer = await origin.call(method, path, body === undefined ? {} : { body });
        if (answer.status < 400 || answer.status >= 500)
          unexpected.push(`seed ${seed}: ${method} ${path} ${body ?? ''} → ${answer.status}`);
      }
      expect(unexpected).toEqual([]);
    });

    it('another content type is answered 415', async () => {
      const headers = { 'content-type': 'text/plain' };
      expect((await origin.call('POST', '/api/v1/streams', { body: '{}', headers })).status).toBe(415);
    });

    it.each([
      ['PUT', '/api/v1/streams', 'GET, POST, HEAD, OPTIONS'],
      ['DELETE', '/api/v1/streams', 'GET, POST, HEAD, OPTIONS'],
      ['POST', '/api/v1/streams/x', 'GET, PATCH, DELETE, HEAD, OPTIONS'],
      ['GET', '/api/v1/streams/x/keys', 'POST, OPTIONS'],
      ['POST', '/api/v1/streams/x/stats', 'GET, HEAD, OPTIONS'],
      ['POST', '/api/v1/live', 'GET, HEAD, OPTIONS'],
    ])('%s %s is answered 405', async (method, path, allow) => {
      const { status, headers } = await origin.call(method, path);
      expect([status, headers.get('allow')]).toEqual([405, allow]);
    });

    it.each([
      ['/api/v1/streams', 'GET, POST, HEAD, OPTIONS'],
      ['/api/v1/streams/x', 'GET, PATCH, DELETE, HEAD, OPTIONS'],
    ])('OPTIONS %s needs no token, and names the methods', async (path, allow) => {
      const { status, headers } = await origin.call('OPTIONS', path, { token: null });
      expect([status, headers.get('allow')]).toEqual([204, allow]);
    });

    it.each([
      '/api/v1/streams/a%2Fb',
      '/api/v1/streams/%00',
      '/api/v1/streams/..%2f..%2fetc',
      "/api/v1/streams/'%20or%20true",
      `/api/v1/streams/${'x'.repeat(65)}`,
      '/api/v1/streams/%E0%A4%A',
      '/api/v1/nothing',
    ])('%s is answered 404', async (path) => {
      expect((await origin.call<Problem>('GET', path)).status).toBe(404);
    });
  });

  describe('authentication', () => {
    it.each([
      ['GET', '/api/v1/streams'],
      ['POST', '/api/v1/streams'],
      ['GET', '/api/v1/streams/x'],
      ['PATCH', '/api/v1/streams/x'],
      ['DELETE', '/api/v1/streams/x'],
      ['POST', '/api/v1/streams/x/keys'],
      ['GET', '/api/v1/streams/x/stats'],
      ['GET', '/api/v1/anything'],
    ])('%s %s without, or with another, token is answered 401', async (method, path) => {
      for (const token of [null, 'another-token-of-no-use', 'ingest-token-of-the-tests']) {
        const { status, headers, body } = await origin.call<Problem>(method, path, { token });
        expect([status, body.code]).toEqual([401, 'unauthorized']);
        expect(headers.get('www-authenticate')).toContain('Bearer realm=');
      }
    });

    it('the admin token does not open the ingest calls', async () => {
      const body = { streamKey: 'x', remoteAddress: '' };
      expect((await origin.call('POST', '/ingest/v1/sessions', { body })).status).toBe(401);
    });
  });

  describe('GET /api/v1/streams', () => {
    it('goes page by page through all streams, newest first, none twice', async () => {
      const lister = await OriginUnderTest.start(
        {},
        { database: postgres.open({}, await postgres.createDatabase()) },
      );
      const made: string[] = [];
      for (let n = 0; n < 5; n++) made.unshift((await lister.createStream({ id: `s${n}` })).id);
      type Page = { streams: ApiStream[]; nextCursor: string | null };
      const seen: string[] = [];
      let cursor = '';
      for (let page = 0; page < 3; page++) {
        const { body } = await lister.call<Page>('GET', `/api/v1/streams?limit=2${cursor}`);
        seen.push(...body.streams.map(({ id }) => id));
        cursor = `&cursor=${body.nextCursor ?? ''}`;
        expect(body.nextCursor === null).toBe(page === 2);
        // One that is made meanwhile belongs before the first page.
        await lister.createStream({ id: `later${page}` });
      }
      expect(seen).toEqual(made);
      await lister.close();
    });

    it.each([
      ['limit=0', 'limit'],
      ['limit=201', 'limit'],
      ['limit=ten', 'limit'],
      ['limit=-1', 'limit'],
      ['cursor=!', 'cursor'],
      [`cursor=${Buffer.from('1 a b').toString('base64url')}`, 'cursor'],
      ['page=2', 'page'],
    ])('?%s is answered 400', async (query, field) => {
      const { status, body } = await origin.call<Problem>('GET', `/api/v1/streams?${query}`);
      expect([status, body.errors?.[0]?.field]).toEqual([400, field]);
    });
  });

  describe('PATCH /api/v1/streams/{id}', () => {
    it('changes what is given and leaves the rest', async () => {
      const { id, streamKey } = await origin.createStream({ name: 'Before', reconnectWindow: 5 });
      const ladder = { rungs: [{ height: 480, bitrateBps: 900_000 }], preset: 'faster', copy: true };
      const changed = await patch(id, {
        name: 'After',
        ladder,
        segmentDurationMs: 4_000,
        partDurationMs: 500,
      });
      expect(changed.status).toBe(200);
      const expected = {
        name: 'After',
        ladder,
        segmentDurationMs: 4_000,
        partDurationMs: 500,
        reconnectWindow: 5,
      };
      expect(changed.body).toMatchObject(expected);
      expect(changed.body).not.toHaveProperty('streamKey');
      expect(await origin.getStream(id)).toMatchObject(expected);
      const grant = await origin.authorise(streamKey);
      expect(grant.body).toMatchObject({ ladder, segmentDurationMs: 4_000, partDurationMs: 500 });
    });

    it('makes a new key, and the old one ends at once', async () => {
      const { id, streamKey } = await origin.createStream();
      const { body } = await patch(id, { streamKey: 'rotate' });
      expect(body.streamKey).toMatch(/^live_/);
      expect(await mayPublish(streamKey)).toBe(false);
      expect(await mayPublish(body.streamKey)).toBe(true);
      expect(body.keys).toHaveLength(1);
    });

    it('takes a key that the owner has chosen, also the one that is there already', async () => {
      const { id, streamKey } = await origin.createStream();
      for (let time = 0; time < 2; time++) {
        const changed = await patch(id, { streamKey: 'my-own-key-0123456' });
        expect(changed).toMatchObject({ status: 200, body: { streamKey: 'my-own-key-0123456' } });
        expect(await mayPublish('my-own-key-0123456')).toBe(true);
      }
      expect(await mayPublish(streamKey)).toBe(false);
    });

    it('refuses nothing to change, an unknown stream and another’s key', async () => {
      const { id, streamKey } = await origin.createStream({ streamKey: 'key-of-the-first-one' });
      const other = await origin.createStream();
      expect((await patch(id, {})).status).toBe(400);
      expect(await patch('no-such-stream', { name: 'x' })).toMatchObject({
        status: 404,
        body: { code: 'stream_not_found' },
      });
      expect(await patch(other.id, { name: 'changed', streamKey })).toMatchObject({
        status: 409,
        body: { code: 'stream_key_taken', errors: [{ field: 'streamKey' }] },
      });
      expect(await origin.getStream(other.id)).toMatchObject({ name: other.name });
      expect(await mayPublish(other.streamKey)).toBe(true);
    });
  });

  describe('POST /api/v1/streams/{id}/keys', () => {
    it('makes a new key; the old one ends at once', async () => {
      const { id, streamKey } = await origin.createStream();
      const { status, body } = await rotate(id);
      expect(status).toBe(201);
      expect(await mayPublish(streamKey)).toBe(false);
      expect(await mayPublish(body.streamKey)).toBe(true);
    });

    it('leaves the old one valid for a grace, and never more than two', async () => {
      const first = await origin.createStream();
      const second = (await rotate(first.id, { grace: 3_600 })).body;
      expect(second.keys.map(({ expiresAt }) => expiresAt === null)).toEqual([true, false]);
      expect(await mayPublish(first.streamKey)).toBe(true);
      expect(await mayPublish(second.streamKey)).toBe(true);
      const third = (await rotate(first.id, { grace: 3_600 })).body;
      expect(third.keys).toHaveLength(2);
      expect(await mayPublish(first.streamKey)).toBe(false);
      expect(await mayPublish(second.streamKey)).toBe(true);
      expect(await mayPublish(third.streamKey)).toBe(true);
    });

    it('ends the old one when the grace is over, its publish too', async () => {
      const { id, streamKey } = await origin.createStream();
      const { body: grant } = await origin.authorise(streamKey);
      await rotate(id, { grace: 1 });
      expect((await origin.heartbeat(grant)).status).toBe(200);
      const gone = await waitFor('the end of the session', async () => {
        const answer = await origin.heartbeat(grant);
        return answer.status === 410 ? answer : undefined;
      });
      expect(gone.body.code).toBe('session_ended');
      expect(await mayPublish(streamKey)).toBe(false);
    });

    it('of an unknown stream are answered 404', async () => {
      expect((await rotate('no-such-stream')).status).toBe(404);
    });
  });

  describe('Idempotency-Key', () => {
    it('makes one stream of a repeated request, and shows the same key', async () => {
      const headers = { 'idempotency-key': 'request-1' };
      const first = await create({ name: 'Once' }, headers);
      const again = await create({ name: 'Once' }, headers);
      expect(again.status).toBe(201);
      expect(again.body).toMatchObject({ id: first.body.id, streamKey: first.body.streamKey });
      expect(first.headers.get('idempotency-replayed')).toBeNull();
      expect(again.headers.get('idempotency-replayed')).toBe('true');
    });

    it('makes one stream of several at the same time', async () => {
      const headers = { 'idempotency-key': 'request-2' };
      const answers = await Promise.all(Array.from({ length: 4 }, () => create({}, headers)));
      expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
      expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201]);
    });

    it('refuses another request under the same key', async () => {
      const headers = { 'idempotency-key': 'request-3' };
      const { body } = await create({ name: 'First' }, headers);
      expect(await create({ name: 'Second' }, headers)).toMatchObject({
        status: 422,
        body: { code: 'idempotency_key_reused' },
      });
      expect((await rotate(body.id, {}, headers)).status).toBe(422);
    });

    it('does not keep a request that failed', async () => {
      const headers = { 'idempotency-key': 'request-4' };
      await create({ id: 'idempotent' });
      expect((await create({ id: 'idempotent' }, headers)).status).toBe(409);
      await origin.call('DELETE', '/api/v1/streams/idempotent');
      expect((await create({ id: 'idempotent' }, headers)).status).toBe(201);
    });

    it('rotates a key once', async () => {
      const { id } = await origin.createStream();
      const headers = { 'idempotency-key': 'request-5' };
      const first = await rotate(id, {}, headers);
      const again = await rotate(id, {}, headers);
      expect(again.body.streamKey).toBe(first.body.streamKey);
      expect(await mayPublish(first.body.streamKey)).toBe(true);
    });

    it.each(['', 'x'.repeat(256), 'with space'])('that is "%s" is answered 400', async (key) => {
      expect((await create({}, { 'idempotency-key': key })).status).toBe(400);
    });
  });

  describe('a stream that is published', () => {
    it('is live with what its broadcaster sends, and listed for everybody', async () => {
      const { id, streamKey } = await origin.createStream({ name: 'On air' });
      const { body: grant } = await origin.authorise(streamKey);
      expect(await origin.getStream(id)).toMatchObject({ status: 'offline' });
      const source = {
        videoCodec: 'avc1.64001f',
        audioCodec: 'mp4a.40.2',
        width: 1_280,
        height: 720,
        frameRate: 30,
        bitrateBps: 3_100_000,
      };
      await origin.heartbeat(grant, { source });
      await origin.publish(grant);
      const shown = await origin.getStream(id);
      expect(shown).toMatchObject({
        status: 'live',
        video: { codec: 'avc1.64001f', width: 1_280, height: 720, frameRate: 30 },
        audio: { codec: 'mp4a.40.2' },
        bitrateBps: 3_100_000,
        startedAt: expect.stringMatching(/^\d{4}-/) as string,
      });
      expect(shown['latencyMs']).toBeGreaterThanOrEqual(0);
      const listed = await origin.call<{ streams: ApiStream[] }>('GET', '/api/v1/live', { token: null });
      expect(listed.headers.get('access-control-allow-origin')).toBe('*');
      expect(listed.body.streams.filter((stream) => stream.id === id)).toEqual([
        {
          id,
          name: 'On air',
          access: 'public',
          state: 'live',
          playback: shown.playback,
          startedAt: shown['startedAt'],
          video: shown['video'],
          audio: shown['audio'],
          viewersWaiting: 0,
        },
      ]);
      const stats = await origin.call('GET', `/api/v1/streams/${id}/stats`);
      expect(stats.body).toMatchObject({
        status: 'live',
        session: { id: grant.sessionId, remoteAddress: '192.0.2.1' },
        timelines: 1,
      });
      expect(stats.body['renditions']).toHaveLength(3);
      expect((await fetch(shown.playback.hls)).status).toBe(200);
    });

    it('counts the viewers that wait for its next part', async () => {
      const { id, streamKey } = await origin.createStream();
      const { body: grant } = await origin.authorise(streamKey);
      const { firstMsn } = await origin.publish(grant);
      const abort = new AbortController();
      const url = `${origin.origin.url}/live/${id}/720p/index.m3u8?_HLS_msn=${firstMsn + 1}&_HLS_part=0`;
      const held = fetch(url, { signal: abort.signal }).catch(() => undefined);
      const viewers = await waitFor('a viewer', async () => {
        await origin.heartbeat(grant);
        return (await origin.getStream(id))['viewersWaiting'];
      });
      expect(viewers).toBe(1);
      abort.abort();
      await held;
    });

    it('waits for its broadcaster, then is offline', async () => {
      const { id, streamKey } = await origin.createStream({ reconnectWindow: 1 });
      const { body: grant } = await origin.authorise(streamKey);
      await origin.publish(grant);
      const { sessionId, fencingToken } = grant;
      await origin.ingest(`${id}/end`, { sessionId, fencingToken, reason: 'lost' });
      expect(await origin.getStream(id)).toMatchObject({ status: 'reconnecting' });
      await waitFor('the end', async () => (await origin.getStream(id)).status === 'offline');
      const { body } = await origin.call<{ streams: ApiStream[] }>('GET', '/api/v1/live', { token: null });
      expect(body.streams.map((stream) => stream.id)).not.toContain(id);
      expect((await origin.call('GET', `/api/v1/streams/${id}/stats`)).body).toMatchObject({
        status: 'offline',
        startedAt: null,
        video: null,
      });
    });

    it.each([
      ['a new key', (id: string) => patch(id, { streamKey: 'rotate' }), 410],
      ['a chosen key', (id: string) => patch(id, { streamKey: `another-key-of-${id}` }), 410],
      ['a rotation', (id: string) => rotate(id), 410],
      ['its deletion', (id: string) => origin.call('DELETE', `/api/v1/streams/${id}`), 404],
    ])('is ended at once by %s', async (_, change, uploadStatus) => {
      const { id, streamKey } = await origin.createStream();
      const { body: grant } = await origin.authorise(streamKey);
      const presentation = makePresentation();
      const timeline = await origin.publish(grant, 1, presentation);
      expect((await change(id)).status).toBeLessThan(300);
      expect(await origin.heartbeat(grant)).toMatchObject({ status: 410, body: { code: 'session_ended' } });
      expect(await origin.putPart(grant, timeline, presentation, '720p', 6)).toBe(uploadStatus);
      expect((await origin.authorise(streamKey)).status).toBe(403);
    });

    it('goes on when something else of it is changed', async () => {
      const { id, streamKey } = await origin.createStream();
      const { body: grant } = await origin.authorise(streamKey);
      await patch(id, { name: 'Another name', segmentDurationMs: 3_000 });
      expect((await origin.heartbeat(grant)).status).toBe(200);
    });
  });

  describe('DELETE /api/v1/streams/{id}', () => {
    it('is answered 204, then 404', async () => {
      const { id } = await origin.createStream();
      expect((await origin.call('DELETE', `/api/v1/streams/${id}`)).status).toBe(204);
      expect((await origin.call('DELETE', `/api/v1/streams/${id}`)).status).toBe(404);
      expect((await origin.call('GET', `/api/v1/streams/${id}`)).status).toBe(404);
    });

    it('leaves numbers behind that a stream of the same id goes on from', async () => {
      const made = await origin.createStream({ id: 'made-again' });
      const { body: first } = await origin.authorise(made.streamKey);
      const before = await origin.publish(first, 2);
      await origin.call('DELETE', '/api/v1/streams/made-again');
      const again = await origin.createStream({ id: 'made-again' });
      const { body: second } = await origin.authorise(again.streamKey);
      const after = await origin.publish(second);
      expect(after.firstMsn).toBeGreaterThan(before.firstMsn);
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
    });
  });

  it('keeps an audit of every change, without any key', async () => {
    const { id, streamKey } = await origin.createStream();
    const headers = { 'x-request-id': 'my-request' };
    await origin.call('PATCH', `/api/v1/streams/${id}`, {
      body: { name: 'x', streamKey: 'rotate' },
      headers,
    });
    await origin.call('DELETE', `/api/v1/streams/${id}`);
    const database = postgres.open({}, 'test_1');
    const rows = await database.run(
      ({ sql }) => sql`select action, actor, request_id, before, after from origin.audit
        where stream_id = ${id} order by id`,
    );
    expect(rows.map((row) => row['action'])).toEqual([
      'stream.created',
      'stream.updated',
      'stream.key_changed',
      'stream.deleted',
    ]);
    expect(rows[1]).toMatchObject({ actor: 'admin-token', request_id: 'my-request', after: { name: 'x' } });
    expect(JSON.stringify(rows)).not.toContain(streamKey);
  });

  it('has no key in the database that could be read there', async () => {
    const headers = { 'idempotency-key': 'request-6' };
    const { body } = await create({ streamKey: 'a-key-nobody-may-see' }, headers);
    const database = postgres.open({}, 'test_1');
    const rows = await database.run(
      ({ sql }) => sql`
      select (select json_agg(k) from origin.stream_keys k) as keys,
        (select json_agg(i) from origin.idempotency_keys i) as answers, (select json_agg(a) from origin.audit a) as audit`,
    );
    const everything = JSON.stringify(rows);
    for (const text of [body.streamKey, Buffer.from(body.streamKey).toString('hex')])
      expect(everything).not.toContain(text);
  });
});
