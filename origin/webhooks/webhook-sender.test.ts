import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { TargetGuard, type ResolveName } from '#runtime/outbound/target-guard.ts';
import type { AttemptOutcome, ClaimedDelivery } from '#origin/webhooks/deliveries-table.ts';
import { ATTEMPT_DEADLINE_MS, WebhookSender } from '#origin/webhooks/webhook-sender.ts';
import { makeWebhookSecret } from '#origin/webhooks/webhook-signature.ts';
import { waitFor } from '#tests/support/wait-for.ts';

describe('WebhookSender', () => {
  let clock: FakeClock;
  let server: Server;
  let port: number;
  let answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  let received: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[];
  const secret = makeWebhookSecret();
  const never = new AbortController().signal;

  beforeEach(async () => {
    clock = new FakeClock();
    received = [];
    answer = (_incoming, outgoing) => void outgoing.writeHead(204).end();
    server = createServer((incoming, outgoing) => {
      void text(incoming).then((body) => {
        const { method = '', url = '', headers } = incoming;
        received.push({ method, url, headers, body });
        answer(incoming, outgoing);
      });
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const send = (
    url: string,
    options: { allowed?: readonly string[]; resolve?: ResolveName; signal?: AbortSignal } = {},
  ): Promise<AttemptOutcome> => {
    const { allowed = [`127.0.0.1:${port}`], signal = never } = options;
    const { resolve = () => Promise.reject(new Error('no name is to be looked up')) } = options;
    const delivery: ClaimedDelivery = {
      id: 1,
      webhookId: 'hook',
      attempt: 1,
      url,
      secret,
      eventId: 'evt_1',
      body: '{"type":"stream.live"}',
    };
    return new WebhookSender({ clock, guard: new TargetGuard(allowed), resolve }).send(delivery, signal);
  };
  const here = (path = '/'): string => `http://127.0.0.1:${port}${path}`;

  it('posts the event, signed so that a receiver can check it', async () => {
    expect(await send(here('/hook?to=me'))).toEqual({ status: 204, error: null });
    const [request] = received;
    if (request === undefined) throw new Error('nothing has arrived');
    const { method, url, headers, body } = request;
    expect([method, url, body]).toEqual(['POST', '/hook?to=me', '{"type":"stream.live"}']);
    expect(headers['content-type']).toBe('application/json');
    const timestamp = String(headers['webhook-timestamp']);
    expect(timestamp).toBe(String(Math.floor(clock.nowMs() / 1_000)));
    const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
    const mac = createHmac('sha256', key).update(`evt_1.${timestamp}.${body}`).digest('base64');
    expect([headers['webhook-id'], headers['webhook-signature']]).toEqual(['evt_1', `v1,${mac}`]);
  });

  it('goes to the address that was judged, whatever the name leads to by then', async () => {
    let lookUps = 0;
    const resolve: ResolveName = () => {
      lookUps++;
      return Promise.resolve(lookUps === 1 ? ['127.0.0.1'] : ['192.0.2.1']);
    };
    const outcome = await send(`http://hooks.test:${port}/`, { allowed: ['hooks.test'], resolve });
    expect(outcome).toEqual({ status: 204, error: null });
    expect([lookUps, received.length]).toEqual([1, 1]);
    expect(received[0]?.headers.host).toBe(`hooks.test:${port}`);
  });

  it.each([
    ['an address inside', 'https://10.0.0.1/', 'address_not_allowed'],
    ['this machine', 'https://127.0.0.1/', 'address_not_allowed'],
    ['this machine, spelt otherwise', 'https://0x7f.1/', 'address_not_allowed'],
    ['this machine in IPv6', 'https://[::1]/', 'address_not_allowed'],
    ['the cloud’s own address', 'https://169.254.169.254/', 'address_not_allowed'],
    ['plain http', 'http://hooks.test/', 'scheme_not_allowed'],
    ['credentials', 'https://me:secret@hooks.test/', 'credentials_in_url'],
    ['a name that leads inside', 'https://hooks.test/', 'address_not_allowed'],
  ])('refuses %s', async (_, url, error) => {
    const resolve: ResolveName = () => Promise.resolve(['93.184.216.34', '127.0.0.1']);
    expect(await send(url, { allowed: [], resolve })).toEqual({ status: null, error });
    expect(received.length).toBe(0);
  });

  it.each([301, 302, 307, 400, 404, 410, 500, 503])('takes %i for not delivered', async (status) => {
    answer = (_incoming, outgoing) => void outgoing.writeHead(status, { location: here('/other') }).end('x');
    expect(await send(here())).toEqual({ status, error: `status_${status}` });
    expect(received.length).toBe(1);
  });

  it('gives up on a receiver that does not answer', async () => {
    answer = () => undefined;
    const sending = send(here());
    await waitFor('the request to arrive', () => received.length === 1);
    clock.advance(ATTEMPT_DEADLINE_MS);
    expect(await sending).toEqual({ status: null, error: 'timeout' });
  });

  it('reads no endless answer', async () => {
    answer = (_incoming, outgoing) => {
      outgoing.on('error', () => undefined);
      outgoing.writeHead(200);
      const write = (): void => {
        while (outgoing.writable && outgoing.write(Buffer.alloc(64 * 1024))) continue;
      };
      outgoing.on('drain', write);
      write();
    };
    expect((await send(here())).status ?? 'none').toBe(200);
  });

  it('says what else went wrong', async () => {
    answer = (incoming) => void incoming.socket.destroy();
    expect(await send(here())).toEqual({ status: null, error: 'connection_failed' });
    const closed = port;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(await send(`http://127.0.0.1:${closed}/`)).toEqual({ status: null, error: 'connect_refused' });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  });

  it('is broken off when the origin stops', async () => {
    answer = () => undefined;
    const stop = new AbortController();
    const sending = send(here(), { signal: stop.signal });
    await waitFor('the request to arrive', () => received.length === 1);
    stop.abort();
    expect(await sending).toEqual({ status: null, error: 'aborted' });
  });
});
