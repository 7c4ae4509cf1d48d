import { describe, expect, it } from 'vitest';
import { decodeStreamImage, encodeStreamImage, StreamImageError } from '#origin/cluster/stream-image.ts';
import { createTestOrigin, TestPublisher } from '#origin/live/testing/test-publisher.ts';

function publishedOrigin() {
  const origin = createTestOrigin();
  // Two timelines, a gap, and a segment that is open.
  const publisher = new TestPublisher(origin).begin().putSegments(2).loseCells(2).putCells(4);
  publisher.begin().putCells(15);
  return { origin, publisher };
}

describe('the image of a stream', () => {
  it('goes on in another origin with the same playlists and the same bytes', () => {
    const { origin, publisher } = publishedOrigin();
    const image = publisher.stream.image;
    if (image === undefined) throw new Error('there is nothing to go on with');
    const other = createTestOrigin();
    const restored = decodeStreamImage(encodeStreamImage(image), other.clock.monotonicMs());
    other.streams.restore({ ...restored, recorder: undefined });
    const textOf = (one: typeof origin, id: string): string =>
      new TextDecoder()
        .decode(one.streams.get('show')?.snapshot(id)?.rendered('full').identity)
        // How far the others had come when it was written last is no part of a rendition.
        .replaceAll(/^#EXT-X-RENDITION-REPORT.*\n/gm, '');
    for (const { id } of publisher.presentation.renditions)
      expect(textOf(other, id)).toBe(textOf(origin, id));
    const media = (one: typeof origin) =>
      one.streams.get('show')?.playback.segment('720p', publisher.grant.firstMsn);
    expect(media(other)).toEqual(media(origin));
  });

  it('is not read when it is damaged, cut off or something else', () => {
    const { publisher } = publishedOrigin();
    const image = publisher.stream.image;
    if (image === undefined) throw new Error('there is nothing to go on with');
    const body = encodeStreamImage(image);
    const damaged = body.slice();
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    for (const bad of [damaged, body.slice(0, -1), body.slice(0, 3), body.slice(0, 40), new Uint8Array(100)])
      expect(() => decodeStreamImage(bad, 0)).toThrow(StreamImageError);
  });

  it('is none of a stream that has ended', () => {
    const { publisher } = publishedOrigin();
    publisher.stream.end();
    expect(publisher.stream.image).toBeUndefined();
  });
});
