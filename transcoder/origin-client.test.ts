import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { PublishOrigin } from '#tests/support/publish-origin.ts';
import { OriginClient } from './origin-client.ts';

const timeouts = { authoriseTimeoutMs: 2_000, heartbeatTimeoutMs: 2_000, endReportTimeoutMs: 2_000 };
const session = '00000000-0000-4000-8000-000000000001';
const end = { sessionId: session, fencingToken: 1, reason: 'lost' } as const;

describe('the publish-session calls of an origin', () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  const start = async (
    keys: string[] = ['key'],
  ): Promise<{ origin: PublishOrigin; client: OriginClient }> => {
    const origin = await PublishOrigin.start(keys);
    const client = new OriginClient({ originUrls: [origin.url], ingestToken: origin.token, ...timeouts });
    closers.push(
      () => client.close(),
      () => origin.close(),
    );
    return { origin, client };
  };
  /** A client of a server that answers as `listener` does. */
  const against = async (
    listener: RequestListener,
    change: Partial<typeof timeouts> = {},
  ): Promise<OriginClient> => {
    const server: Server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const originUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = new OriginClient({ originUrls: [originUrl], ingestToken: 't', ...timeouts, ...change });
    closers.push(
      () => client.close(),
      () => {
        server.closeAllConnections();
        return new Promise((resolve) => server.close(resolve));
      },
    );
    return client;
  };
  const publish = { streamKey: 'key', remoteAddress: '127.0.0.1' };

  it('authorise a key, beat and end', async () => {
    const { origin, client } = await start();
    const grant = await client.authorise(publish);
    expect(grant).toMatchObject({ streamId: 'stream-1', fencingToken: 1 });
    await client.heartbeat(grant.sessionId, {});
    await client.end(grant.streamId, { ...end, sessionId: grant.sessionId });
    expect(origin.sessions[0]?.heartbeats).toHaveLength(1);
    expect(origin.sessions[0]?.end).toMatchObject({ reason: 'lost' });
  });

  it('go to the next origin when one is gone, hangs or fails, and stay there', async () => {
    const { origin, client: spare } = await start();
    await spare.close();
    let hanging = 0;
    const closing: Server[] = [];
    const serverOf = async (listener: RequestListener): Promise<string> => {
      const server = createServer(listener);
      closing.push(server);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    };
    const gone = await serverOf(() => undefined);
    closing.pop()?.close();
    const failing = await serverOf((_request, response) => void response.writeHead(503).end());
    const hangs = await serverOf(() => {
      hanging += 1;
    });
    const originUrls = [gone, failing, hangs, origin.url];
    const client = new OriginClient({ originUrls, ingestToken: origin.token, ...timeouts });
    closers.push(
      () => client.close(),
      async () => {
        for (const server of closing) {
          server.closeAllConnections();
          await new Promise((resolve) => server.close(resolve));
        }
      },
    );
    const grant = await client.authorise(publish);
    await client.heartbeat(grant.sessionId, {});
    await client.heartbeat(grant.sessionId, {});
    expect(origin.sessions[0]?.heartbeats).toHaveLength(2);
    expect(hanging).toBe(1);
    await expect(client.authorise(publish)).rejects.toMatchObject({ code: 'stream_busy', status: 409 });
  });

  it.each([
    ['a key that no stream has', 'other', 'stream_key_unknown', 403],
    ['a key that has a publisher', 'key', 'stream_busy', 409],
  ])('refuse %s', async (_name, streamKey, code, status) => {
    const { client } = await start();
    await client.authorise(publish);
    await expect(client.authorise({ ...publish, streamKey })).rejects.toMatchObject({ code, status });
  });

  it('say that a session is over', async () => {
    const { client } = await start();
    await expect(client.heartbeat(session, {})).rejects.toMatchObject({ code: 'session_ended', status: 410 });
  });

  it('say that the token is wrong', async () => {
    const { origin } = await start();
    const client = new OriginClient({ originUrls: [origin.url], ingestToken: 'wrong', ...timeouts });
    closers.push(() => client.close());
    await expect(client.authorise(publish)).rejects.toMatchObject({ code: 'unauthorized', status: 401 });
  });

  it.each([
    ['no JSON', 201, 'granted'],
    ['a grant without a session', 201, '{"streamId":"a"}'],
    ['a stream id that is a path', 201, `{"sessionId":"${session}","streamId":"../a","fencingToken":1}`],
  ])('take no grant that is %s', async (_name, status, body) => {
    const client = await against((_request, response) => response.writeHead(status).end(body));
    await expect(client.authorise(publish)).rejects.toMatchObject({ code: 'origin_answer_invalid' });
  });

  it('read no endless answer', async () => {
    const client = await against((_request, response) => {
      response.writeHead(201);
      response.write('x'.repeat(100_000));
    });
    await expect(client.authorise(publish)).rejects.toMatchObject({ code: 'origin_answer_invalid' });
  });

  it('give a failure without a code one of their own', async () => {
    const client = await against((_request, response) => response.writeHead(502).end('<html>'));
    await expect(client.end('a', end)).rejects.toMatchObject({ code: 'origin_error', status: 502 });
  });

  it('end by their deadline', async () => {
    const client = await against(() => {}, { heartbeatTimeoutMs: 50 });
    await expect(client.heartbeat(session, {})).rejects.toMatchObject({
      code: 'origin_timeout',
      status: undefined,
    });
  });

  it('end by their deadline when only the body is missing', async () => {
    const client = await against((_request, response) => void response.writeHead(200).write('{'), {
      endReportTimeoutMs: 50,
    });
    await expect(client.end('a', end)).rejects.toMatchObject({ code: 'origin_timeout' });
  });

  it('beat while any number of keys wait for their answer', async () => {
    const client = await against((request, response) => {
      if (request.url?.endsWith('heartbeat') === true) response.writeHead(200).end('{}');
    });
    const waiting = Promise.allSettled(Array.from({ length: 200 }, () => client.authorise(publish)));
    await expect(client.heartbeat(session, {})).resolves.toBeUndefined();
    await client.close();
    const outcomes = await waiting;
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
  });

  it('say that nobody is there', async () => {
    const client = await against(() => {});
    await closers.pop()?.();
    await expect(client.heartbeat(session, {})).rejects.toMatchObject({ code: 'origin_unreachable' });
  });

  it('can be given up', async () => {
    const client = await against(() => {});
    const abort = new AbortController();
    const call = client.authorise(publish, abort.signal);
    abort.abort();
    await expect(call).rejects.toMatchObject({ code: 'aborted' });
  });

  it('never put the key into an error', async () => {
    const client = await against((_request, response) => response.writeHead(500).end());
    const error: unknown = await client
      .authorise({ ...publish, streamKey: 'the-secret-key' })
      .catch((e: unknown) => e);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('the-secret-key');
  });
});
