import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { LIVE_STREAMS_MAX, LiveStreams } from '#steering/live-streams.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** An origin that answers with what is set. */
async function origin(answer: () => { status?: number; body: string }): Promise<string> {
  const server: Server = createServer((_, response) => {
    const { status = 200, body } = answer();
    response.writeHead(status, status === 302 ? { location: 'http://127.0.0.1:1/' } : {}).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function watch(...urls: string[]) {
  const metrics = createMetrics('test');
  const clock = new FakeClock();
  const streams = new LiveStreams(urls, {
    clock,
    logger: createLogger('test', 'silent'),
    metrics,
  });
  closing.push(() => streams.close());
  return { streams, metrics, clock };
}

const listOf = (...ids: string[]): string =>
  JSON.stringify({ streams: ids.map((id) => ({ id, state: 'live' })) });

describe('the list of live streams', () => {
  it('is what all origins together say', async () => {
    const { streams } = watch(
      await origin(() => ({ body: listOf('a', 'b') })),
      await origin(() => ({ body: listOf('b', 'c') })),
    );
    await waitFor('the list', () => streams.ids().length === 3);
    expect(streams.ids()).toEqual(['a', 'b', 'c']);
  });

  it('tells which of them ask viewers for a token', async () => {
    const streams = [
      { id: 'shop', access: 'token' },
      { id: 'square', access: 'public' },
    ];
    const { streams: watched } = watch(await origin(() => ({ body: JSON.stringify({ streams }) })));
    await waitFor('the list', () => watched.ids().length === 2);
    expect(['shop', 'square', 'other'].map((id) => watched.isProtected(id))).toEqual([true, false, false]);
  });

  it('has no ids that cannot be, and not too many', async () => {
    const many = Array.from({ length: LIVE_STREAMS_MAX + 10 }, (_, i) => `s${i}`);
    const { streams } = watch(await origin(() => ({ body: listOf('../etc', 'a"b', ...many) })));
    await waitFor('the list', () => streams.ids().length > 0);
    expect(streams.ids()).toHaveLength(LIVE_STREAMS_MAX);
    expect(streams.ids()[0]).toBe('s0');
  });

  it.each([
    ['an error', { status: 500, body: '' }],
    ['nonsense', { body: '<html>' }],
    ['another shape', { body: '{"streams":[1]}' }],
    ['a redirect', { status: 302, body: '' }],
    ['more than anybody needs', { body: `"${'x'.repeat(5 * 1024 * 1024)}"` }],
  ])('survives %s, keeps what it had, and counts', async (_name, bad) => {
    let answer: { status?: number; body: string } = { body: listOf('a') };
    const { streams, metrics, clock } = watch(await origin(() => answer));
    await waitFor('the list', () => streams.ids().length === 1 && clock.pendingCount === 1);
    answer = bad;
    clock.advance(2_000);
    await waitFor('the failure', async () =>
      /steering_live_list_failures_total\{service="test"\} [1-9]/.test(await metrics.metrics()),
    );
    expect(streams.ids()).toEqual(['a']);
    // For half a minute.
    await waitFor('the next turn', () => clock.pendingCount === 1);
    clock.advance(31_000);
    await waitFor('the origin to be forgotten', () => streams.ids().length === 0);
  });
});
