import { beforeEach, describe, expect, it } from 'vitest';
import { parseDeliveryDirectives } from '#protocol/hls/delivery-directives.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { PeerUnavailableError, type PeerAnswer, type PeerCall } from '#origin/cluster/peer-client.ts';
import { Relay, RELAY_HEADERS, SECOND_SOURCE_AFTER_MS } from '#origin/cluster/relay.ts';
import { digestOf } from '#origin/live/live-segment.ts';
import { createTestOrigin, type TestOrigin } from '#origin/live/testing/test-publisher.ts';

type Call = { readonly url: string; readonly path: string; readonly signal: AbortSignal | undefined };

const client = new AbortController();
const answerOf = (text: string, headers: Record<string, string>): PeerAnswer => ({
  header: (name) => headers[name],
  bytes: new TextEncoder().encode(text),
});
const playlistOf = (text: string, freshness = 'plain'): PeerAnswer =>
  answerOf(text, { [RELAY_HEADERS.freshness]: freshness, [RELAY_HEADERS.targetDuration]: '2' });
const mediaOf = (text: string): PeerAnswer =>
  answerOf(text, { [RELAY_HEADERS.digest]: digestOf(text), [RELAY_HEADERS.kind]: 'video' });
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('the relay', () => {
  let origin: TestOrigin;
  let relay: Relay;
  let calls: Call[];
  let sources: string[];
  /** Never answers unless told otherwise. */
  let answer: (call: Call) => Promise<PeerAnswer>;

  beforeEach(() => {
    origin = createTestOrigin();
    calls = [];
    sources = ['http://one', 'http://two'];
    answer = () => new Promise(() => undefined);
    const peers = {
      call: (url: string, { path, signal }: PeerCall) => {
        const call = { url, path, signal };
        calls.push(call);
        return answer(call);
      },
    };
    relay = new Relay(
      { cacheBytesMax: 1_000_000, waitersMax: 100 },
      {
        clock: origin.clock,
        metrics: origin.metrics,
        holds: origin.streams.holds,
        peers,
        sourcesOf: () => sources,
      },
    );
  });
  const playlist = (query = '') =>
    relay.playback('show').playlist('720p', parseDeliveryDirectives(query), client);

  it('asks once for the same version, however it is asked for', async () => {
    answer = () => Promise.resolve(playlistOf('text', 'blocking'));
    const answers = await Promise.all([
      playlist('_HLS_msn=5&_HLS_part=1&_HLS_skip=YES'),
      playlist('x=1&_HLS_skip=YES&_HLS_part=1&_HLS_msn=5'),
    ]);
    await playlist('_HLS_part=1&_HLS_msn=5&_HLS_skip=YES');
    expect(calls.map(({ path }) => path)).toEqual([
      '/internal/v1/live/show/720p/index.m3u8?_HLS_msn=5&_HLS_part=1&_HLS_skip=YES',
    ]);
    expect(answers[0]).toMatchObject({ freshness: 'blocking', targetDurationS: 2 });
  });

  it('keeps media, and a playlist without directives for less than a part', async () => {
    answer = ({ path }) => Promise.resolve(path.endsWith('.m3u8') ? playlistOf('text') : mediaOf('bytes'));
    await playlist();
    await relay.playback('show').part('720p', 5, 1, client);
    origin.clock.advance(100);
    await playlist();
    await relay.playback('show').part('720p', 5, 1, client);
    expect(calls).toHaveLength(2);
    origin.clock.advance(150);
    await playlist();
    await relay.playback('show').part('720p', 5, 1, client);
    expect(calls).toHaveLength(3);
  });

  it('never keeps an answer that means more the next time', async () => {
    answer = () => Promise.resolve(playlistOf('text', 'interim'));
    await playlist('_HLS_msn=5');
    await playlist('_HLS_msn=5');
    expect(calls).toHaveLength(2);
  });

  it.each([
    ['does not answer', new PeerUnavailableError('gone')],
    ['has gone stale', new ProblemError(404, 'stream_stale', 'Stale.')],
  ])('asks the other holder at once when one %s', async (_, error) => {
    answer = ({ url }) => (url === 'http://one' ? Promise.reject(error) : Promise.resolve(playlistOf('two')));
    expect(new TextDecoder().decode((await playlist()).rendered.identity)).toBe('two');
  });

  it('asks the other holder too when one hangs, and takes the answer that comes', async () => {
    answer = ({ url }) =>
      url === 'http://one' ? new Promise(() => undefined) : Promise.resolve(playlistOf('two'));
    const asked = playlist();
    origin.clock.advance(SECOND_SOURCE_AFTER_MS - 1);
    await settle();
    expect(calls).toHaveLength(1);
    origin.clock.advance(1);
    expect(new TextDecoder().decode((await asked).rendered.identity)).toBe('two');
    expect(calls[0]?.signal?.aborted).toBe(true);
  });

  it('says what a holder has refused, and 503 when none of them answers', async () => {
    answer = ({ url }) =>
      Promise.reject(
        url === 'http://one'
          ? new PeerUnavailableError('gone')
          : new ProblemError(400, 'too_far_ahead', 'Too far.'),
      );
    await expect(playlist('_HLS_msn=99')).rejects.toMatchObject({ status: 400, code: 'too_far_ahead' });
    answer = () => Promise.reject(new PeerUnavailableError('gone'));
    await expect(playlist()).rejects.toMatchObject({ status: 503, code: 'holders_unavailable' });
    sources = [];
    await expect(playlist('_HLS_msn=1')).rejects.toMatchObject({ status: 404, code: 'stream_offline' });
  });

  it('does not ask again and again for what is not there', async () => {
    answer = () => Promise.reject(new ProblemError(404, 'stream_offline', 'Nobody.'));
    for (let request = 0; request < 10; request++)
      await expect(playlist()).rejects.toMatchObject({ status: 404 });
    expect(calls).toHaveLength(2);
  });

  it('takes nothing for an answer that is none', async () => {
    answer = () => Promise.resolve(answerOf('<html>', {}));
    await expect(playlist()).rejects.toMatchObject({ status: 503, code: 'holders_unavailable' });
  });
});
