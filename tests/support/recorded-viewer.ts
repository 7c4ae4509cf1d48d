import { expect } from 'vitest';
import type { OriginUnderTest } from '#origin/testing/origin-under-test.ts';
import { waitFor } from './wait-for.ts';

/** Everything that one media playlist names, as a viewer gets it. */
export type Seen = {
  readonly text: string;
  /** URI → digest of the body and ETag; of what answers 200. */
  readonly media: ReadonlyMap<string, string>;
};

/** Text of a playlist. @throws when the answer is not 200 */
export async function playlistText(origin: OriginUnderTest, path: string): Promise<string> {
  const answer = await origin.call('GET', path, { token: null });
  if (answer.status !== 200) throw new Error(`${path} was answered ${answer.status}: ${answer.text}`);
  return answer.text;
}

/** Reads a media playlist and everything in it, gaps excepted. @throws when something listed is not there */
export async function see(origin: OriginUnderTest, path: string): Promise<Seen> {
  const text = await playlistText(origin, path);
  const media = new Map<string, string>();
  for (const uri of urisOf(text))
    media.set(uri, await bodyOf(origin, new URL(uri, `http://x${path}`).pathname));
  return { text, media };
}

export async function bodyOf(origin: OriginUnderTest, path: string): Promise<string> {
  const response = await fetch(new URL(path, origin.origin.url));
  const body = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`${path} was answered ${response.status}: ${body.toString()}`);
  return `${response.headers.get('etag')} ${body.toString('base64')}`;
}

/** URIs of segments, parts and init segments that are not gaps. */
export function urisOf(text: string): string[] {
  const uris: string[] = [];
  let isGap = false;
  for (const line of text.split('\n')) {
    const quoted = /^#EXT-X-(?:MAP|PART):.*?URI="([^"]+)"/.exec(line)?.[1];
    if (quoted !== undefined && !line.includes('GAP=YES')) uris.push(quoted);
    else if (line === '#EXT-X-GAP') isGap = true;
    else if (line !== '' && !line.startsWith('#')) {
      if (!isGap) uris.push(line);
      isGap = false;
    }
  }
  return uris;
}

/** What both have seen is the same. */
export function expectSameBodies(before: Seen, after: Seen): void {
  let compared = 0;
  for (const [uri, body] of after.media) {
    const known = before.media.get(uri);
    if (known === undefined) continue;
    compared += 1;
    expect({ uri, body }).toEqual({ uri, body: known });
  }
  expect(compared).toBeGreaterThan(0);
}

/** A metric of the origin, summed over its labels. */
export async function metric(origin: OriginUnderTest, name: string, label = ''): Promise<number> {
  const { text } = await origin.call('GET', '/metrics');
  let sum = 0;
  for (const line of text.split('\n'))
    if ((line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(label))
      sum += Number(line.split(' ').at(-1));
  return sum;
}

/** Waits until nothing of the origin waits for the store or the index. */
export async function recorded(origin: OriginUnderTest, deadlineMs = 20_000): Promise<void> {
  await waitFor(
    'everything to be recorded',
    async () =>
      (await metric(origin, 'origin_recording_queue_objects')) === 0 &&
      (await metric(origin, 'origin_recording_spool_bytes')) < 20_000,
    { deadlineMs, intervalMs: 200 },
  );
}
