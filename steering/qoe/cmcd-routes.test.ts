import { appendCmcdQuery, CMCD_EVENT_MODE, encodeCmcd, toCmcdHeaders } from '@svta/cml-cmcd';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createMetrics } from '#runtime/metrics.ts';
import {
  CMCD_BODY_BYTES_MAX,
  CMCD_BODY_LINES_MAX,
  createCmcdRoutes,
  LOG_BODY_BYTES_MAX,
} from '#steering/qoe/cmcd-routes.ts';
import { Qoe } from '#steering/qoe/qoe.ts';
import { CmcdLineError, readCdnLogLine, readCmcdEvent } from '#steering/qoe/read-cmcd.ts';
import {
  AddressRate,
  RATED_ADDRESSES_MAX,
  REPORTS_AT_ONCE_MAX,
  SequenceFilter,
} from '#steering/qoe/report-filter.ts';

const isCdn = (name: string): boolean => name === 'a' || name === 'b';

describe('POST /cmcd', () => {
  let clock: FakeClock;
  let metrics: ReturnType<typeof createMetrics>;
  let qoe: Qoe;
  let app: ReturnType<typeof createCmcdRoutes>;
  let address: string;

  beforeEach(() => {
    clock = new FakeClock();
    metrics = createMetrics('steering');
    qoe = new Qoe({ clock, metrics, isCdn });
    address = '203.0.113.1';
    app = createCmcdRoutes(qoe, {
      clock,
      addressOf: () => address,
      placeOf: () => ({ country: 'DE' }),
      cdnByHost: (host) => (host === 'cdn-b.example' ? 'b' : undefined),
      isCdn,
      logToken: 'log-shipper-token',
    });
  });
  afterEach(() => qoe.close());

  const post = (
    body: string,
    type = 'application/cmcd',
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    Promise.resolve(
      app.request('/cmcd', { method: 'POST', body, headers: { 'content-type': type, ...headers } }),
    );
  const log = (...lines: object[]): Promise<Response> =>
    post(lines.map((line) => JSON.stringify(line)).join('\n'), 'application/x-ndjson', {
      authorization: 'Bearer log-shipper-token',
    });
  const dropped = async (reason: string): Promise<number> => {
    const { values } = (await metrics.getSingleMetric('steering_qoe_dropped_total')?.get()) ?? { values: [] };
    return values.find(({ labels }) => labels.reason === reason)?.value ?? 0;
  };
  const heard = (cdn: string): { voices: number; mean: number } => {
    qoe.reckon();
    return qoe.summary(cdn);
  };

  it('takes events of version 2, one a line, by the CDN they name', async () => {
    const keys = { v: 2, ts: 1_700_000_000_000, sid: 's', sn: 2, cdn: 'a', e: 't' } as const;
    const event = encodeCmcd(keys, { reportingMode: CMCD_EVENT_MODE });
    expect(event).toContain('e=t');
    const answer = await post(`e=ps,sta=r,sid="s",sn=1,cdn="a",v=2,ts=1700000000000\r\n\n${event}`);
    expect(answer.status).toBe(204);
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(heard('a')).toEqual({ voices: 1, mean: 0 });
    expect(await dropped('says_nothing')).toBe(1);
  });

  it('knows the CDN by the host of a response, or by the session', async () => {
    await post('e=rr,url="https://cdn-b.example/live/x/r0/1.0.m4s",rc=503,sid="s",v=2');
    expect(heard('b')).toEqual({ voices: 1, mean: 0 });
    qoe.observeSteeringRequest({ sessionId: 'known', address: '203.0.113.7', reported: 'a' });
    address = '203.0.113.7';
    await post('e=e,sid="known",v=2');
    expect(heard('a').mean).toBeCloseTo(0.7);
    await post('e=e,sid="unknown",v=2');
    expect(await dropped('cdn_unknown')).toBe(1);
  });

  it('counts a report that was sent twice once', async () => {
    const line = 'e=ps,sta=r,sid="s",sn=5,cdn="a",v=2';
    await post(line);
    await post(`${line}\n${line}`);
    expect(await dropped('duplicate')).toBe(2);
  });

  it('answers 400 when nothing of a body is CMCD, and 204 when something is', async () => {
    const bad = await post('{"not":"cmcd"}\n((');
    expect(bad.status).toBe(400);
    expect(await bad.json()).toMatchObject({ code: 'cmcd_unreadable' });
    expect((await post('((\ne=ps,sta=p,sid="s",cdn="a",v=2')).status).toBe(204);
    expect((await post('')).status).toBe(204);
    expect((await post('e=m,sid="s"')).status).toBe(204);
  });

  it('limits body, lines, length of a line and type', async () => {
    expect((await post('a'.repeat(CMCD_BODY_BYTES_MAX + 1))).status).toBe(413);
    const stream = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(16 * 1024).fill(97)),
    });
    const endless = await app.request('/cmcd', {
      method: 'POST',
      body: stream,
      headers: { 'content-type': 'application/cmcd' },
      duplex: 'half',
    });
    expect(endless.status).toBe(413);
    const many = Array.from({ length: CMCD_BODY_LINES_MAX + 10 }, () => 'e=m,sid="s"').join('\n');
    expect((await post(many)).status).toBe(204);
    expect(await dropped('too_many_lines')).toBe(10);
    expect((await post(`e=ps,sta=p,sid="s",cid="${'x'.repeat(5_000)}"`)).status).toBe(204);
    expect(await dropped('line_too_long')).toBe(1);
    expect((await post('x', 'image/png')).status).toBe(415);
  });

  it('lets one address report only so much, and tells it nothing', async () => {
    for (let round = 0; round < 4; round++) {
      const lines = Array.from({ length: 50 }, (_, line) => `e=ps,sta=r,sid="${round}-${line}",cdn="a",v=2`);
      expect((await post(lines.join('\n'))).status).toBe(204);
    }
    expect(await dropped('address_rate')).toBe(200 - REPORTS_AT_ONCE_MAX);
    expect(heard('a').voices).toBe(1);
  });

  it('answers the preflight of a browser', async () => {
    const answer = await app.request('/cmcd', { method: 'OPTIONS' });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('access-control-allow-methods')).toContain('POST');
  });

  describe('logs of a CDN', () => {
    it('need the token', async () => {
      expect((await post('{}', 'application/x-ndjson')).status).toBe(401);
      expect((await post('{}', 'application/json', { authorization: 'Bearer wrong' })).status).toBe(401);
    });

    it('carry version 1 in the query and in the headers', async () => {
      const url = appendCmcdQuery('/live/x/r0/1.0.m4s', { sid: 's1', su: true });
      const headers = toCmcdHeaders({ sid: 's2', su: true });
      const common = { cdn: 'a', status: 200, country: 'DE', asn: 3320 };
      const answer = await log(
        { ...common, clientAddress: '198.51.100.1', url },
        { ...common, clientAddress: '198.51.100.2', url: '/live/x/r0/1.1.m4s', headers },
        { ...common, clientAddress: '198.51.100.3', url: appendCmcdQuery('/x', { sid: 's3' }), status: 503 },
        { ...common, clientAddress: '198.51.100.4', url: '/live/x/r0/1.1.m4s?a=1' },
      );
      expect(answer.status).toBe(204);
      expect(heard('a')).toEqual({ voices: 3, mean: 2 / 3 });
      expect(await dropped('no_session')).toBe(1);
    });

    it('count a line that is shipped twice once', async () => {
      const line = { cdn: 'a', time: 1, clientAddress: '198.51.100.1', url: '/x?CMCD=sid%3D%22s%22' };
      await log(line, line);
      await log(line);
      expect(await dropped('duplicate')).toBe(2);
    });

    it('drop lines that are not what they should be', async () => {
      const answer = await post('nonsense\n[]\n{"status":"200"}\n{"asn":-1}', 'application/x-ndjson', {
        authorization: 'Bearer log-shipper-token',
      });
      expect(answer.status).toBe(204);
      expect(await dropped('line_invalid')).toBe(4);
      expect((await log({ a: 'x'.repeat(LOG_BODY_BYTES_MAX) })).status).toBe(413);
    });
  });
});

describe('what a report says', () => {
  it.each([
    ['e=ps,sta=p,sid="s"', 1],
    ['e=ps,sta=r,sid="s"', 0],
    ['e=ps,sta=f,sid="s"', 0],
    ['e=t,sta=p,bs,sid="s"', 0],
    ['e=t,sta=p,bl=(900;v),mtp=(5000;v),sid="s"', 1],
    ['e=e,ec=("1001"),sid="s"', 0],
    ['e=rr,rc=200,ttfb=80,sid="s"', 1],
    ['e=rr,rc=200,ttfb=4000,sid="s"', 0.3],
    ['e=rr,rc=404,sid="s"', 0],
    ['e=rr,rc=0,sid="s"', 0],
    ['e=ps,sta=a,sid="s"', 'says_nothing'],
    ['e=bc,br=(3000;v),sid="s"', 'says_nothing'],
    ['e=ps,sta=r', 'no_session'],
    ['e=ps,sta=r,sid=5', 'line_invalid'],
    [`e=ps,sta=r,sid="${'x'.repeat(129)}"`, 'line_invalid'],
    ['((', 'line_invalid'],
  ])('%s: %s', (line, expected) => {
    const read = (): number | string => {
      try {
        return readCmcdEvent(line).value;
      } catch (error) {
        if (error instanceof CmcdLineError) return error.code;
        throw error;
      }
    };
    expect(read()).toBe(expected);
  });

  it('takes a stall in a request as one about the past, at startup as none', () => {
    const line = (cmcd: string): string => JSON.stringify({ url: `/x?CMCD=${encodeURIComponent(cmcd)}` });
    expect(readCdnLogLine(line('bs,sid="s"')).report).toMatchObject({ value: 0, aboutThePast: true });
    expect(readCdnLogLine(line('bs,su,sid="s"')).report).toMatchObject({ value: 1 });
  });

  it('does not blame a CDN for clients that leave', () => {
    const line = JSON.stringify({ url: '/x?CMCD=sid%3D%22s%22', status: 499 });
    expect(readCdnLogLine(line).report.value).toBe(1);
  });
});

describe('limits of what is remembered of senders', () => {
  it('keeps rates of a bounded number of addresses and gives budget back with time', () => {
    const clock = new FakeClock();
    const rate = new AddressRate(clock);
    for (let voice = 0; voice < RATED_ADDRESSES_MAX + 10; voice++) rate.take(`v${voice}`);
    expect(rate.size).toBeLessThanOrEqual(RATED_ADDRESSES_MAX);
    let granted = 0;
    while (rate.take('x')) granted++;
    expect(granted).toBe(REPORTS_AT_ONCE_MAX);
    clock.advance(1_000);
    expect(rate.take('x')).toBe(true);
  });

  it('tells new sequence numbers from old ones, in any order', () => {
    const filter = new SequenceFilter();
    const seen = [5, 7, 6, 5, 7, 100, 99, 99, 7].map((sequence) => filter.isNew('s', sequence));
    expect(seen).toEqual([true, true, true, false, false, true, true, false, false]);
    expect(filter.isNew('s', undefined)).toBe(true);
    expect(filter.isNew('other', 5)).toBe(true);
    expect(filter.isNew('s', 5_000)).toBe(true);
    expect(filter.isNew('s', 0)).toBe(true);
    expect(filter.isNew('s', 0)).toBe(false);
  });
});
