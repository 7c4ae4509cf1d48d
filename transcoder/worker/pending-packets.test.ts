import { describe, expect, it } from 'vitest';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { PendingPackets } from '#transcoder/worker/pending-packets.ts';

const video = (dtsMs: number, keyframe: boolean, bytes = 10): IngestPacket & { kind: 'video' } => ({
  kind: 'video',
  sequenceHeader: false,
  keyframe,
  dtsMs,
  compositionOffsetMs: 0,
  arrivalUtcMs: 0,
  flvBody: new Uint8Array(bytes),
});
const pendingOf = (bytesMax = 100) => {
  let discarded = 0;
  const pending = new PendingPackets(bytesMax, (count) => {
    discarded += count;
  });
  return { pending, discarded: () => discarded };
};
const timesOf = (pending: PendingPackets): number[] => pending.drain().map((packet) => packet.dtsMs);

describe('PendingPackets', () => {
  it('keeps packets in order from the first key frame on', () => {
    const { pending, discarded } = pendingOf();
    for (const packet of [video(0, false), video(1, true), video(2, false)]) pending.push(packet);
    expect(timesOf(pending)).toEqual([1, 2]);
    expect(discarded()).toBe(1);
    expect(pending.bytes).toBe(0);
  });

  it('keeps sequence headers that come before the key frame', () => {
    const { pending } = pendingOf();
    pending.push({ ...video(0, false), sequenceHeader: true });
    pending.push(video(1, true));
    expect(timesOf(pending)).toEqual([0, 1]);
  });

  it('throws all away at its limit and begins again with a key frame', () => {
    const { pending, discarded } = pendingOf(100);
    for (let index = 0; index < 12; index++) {
      pending.push(video(index, index === 0));
      expect(pending.bytes).toBeLessThanOrEqual(100);
    }
    expect(discarded()).toBe(12);
    pending.push(video(12, true));
    expect(timesOf(pending)).toEqual([12]);
  });

  it("does not keep the ingest's memory", () => {
    const { pending } = pendingOf();
    const packet = video(0, true);
    pending.push(packet);
    packet.flvBody.fill(9);
    expect(pending.drain()[0]?.flvBody).toEqual(new Uint8Array(10));
  });
});
