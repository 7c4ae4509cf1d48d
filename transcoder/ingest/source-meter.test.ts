import { describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import { FLV_SAMPLES } from '#tests/support/flv-samples.ts';
import { DEFAULT_INGEST_LIMITS } from './ingest-settings.ts';
import { PacketSequencer } from './packet-sequencer.ts';
import { describeSource, SourceMeter } from './source-meter.ts';

const frame = (dtsMs: number, byteCount = 100): Parameters<SourceMeter['add']>[0] => ({
  kind: 'video',
  sequenceHeader: false,
  keyframe: false,
  dtsMs,
  compositionOffsetMs: 0,
  arrivalUtcMs: 0,
  flvBody: new Uint8Array(byteCount),
});

describe('the measured source', () => {
  it.each([
    [25, 40],
    [29.97, 1001 / 30],
    [60, 1000 / 60],
  ])('finds %s frames per second', (frameRate, frameMs) => {
    const meter = new SourceMeter(new FakeClock());
    for (let index = 0; index < 600; index++) meter.add(frame(Math.round(index * frameMs)));
    expect(Math.abs((meter.frameRate ?? 0) - frameRate)).toBeLessThan(0.02);
  });

  it('knows no rate before the second frame, and none across a break', () => {
    const meter = new SourceMeter(new FakeClock());
    meter.add(frame(0));
    expect(meter.frameRate).toBeNull();
    meter.add(frame(40));
    expect(meter.frameRate).toBe(25);
    meter.add({ kind: 'break', reason: 'timestamp_jump' });
    meter.add(frame(0));
    expect(meter.frameRate).toBeNull();
  });

  it('follows the bit rate of the last seconds', () => {
    const clock = new FakeClock();
    const meter = new SourceMeter(clock);
    expect(meter.bitrateBps).toBeNull();
    const send = (seconds: number, byteCount: number): void => {
      for (let index = 0; index < seconds * 10; index++) {
        meter.add(frame(index * 100, byteCount));
        clock.advance(100);
      }
    };
    send(10, 12_500);
    expect(meter.bitrateBps).toBe(1_000_000);
    send(10, 25_000);
    expect(meter.bitrateBps).toBe(2_000_000);
    clock.advance(20_000);
    expect(meter.bitrateBps).toBe(0);
  });

  it('is described by what the headers say, not by claims', () => {
    const sequencer = new PacketSequencer(DEFAULT_INGEST_LIMITS, new FakeClock(), {
      onPacket: () => {},
      onDropped: () => {},
      onClamped: () => {},
    });
    const meter = new SourceMeter(new FakeClock());
    const unknown = { videoCodec: null, width: null, height: null, frameRate: null, bitrateBps: null };
    expect(describeSource(sequencer, meter)).toEqual({ ...unknown, audioCodec: null });
    sequencer.setMetadata({ width: 99, height: 98 });
    sequencer.media('audio', 0, FLV_SAMPLES.audioHeader, 0);
    expect(describeSource(sequencer, meter)).toEqual({ ...unknown, audioCodec: 'mp4a.40.2' });
    sequencer.media('video', 0, FLV_SAMPLES.otherVideoHeader, 0);
    const described = { videoCodec: 'avc1.4d401f', width: 1280, height: 720 };
    expect(describeSource(sequencer, meter)).toMatchObject(described);
  });
});
