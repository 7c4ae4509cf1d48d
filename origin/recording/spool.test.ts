import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { digestOf } from '#origin/live/live-segment.ts';
import { RecordingMetrics } from '#origin/recording/recording-metrics.ts';
import { Spool, type SpoolPlace } from '#origin/recording/spool.ts';
import { readSpooled } from '#origin/recording/spooled-segment.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spool-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const place: SpoolPlace = { ref: { streamId: 'one', id: 7 }, renditionId: '720p', msn: 9 };
const file = (): string => join(folder, 'one', '7', 'r-720p', '9.seg');
const origin = {
  msn: 9,
  timescale: 90_000,
  startUtcMs: 1_000.5,
  discontinuity: false,
  discontinuityNumber: 0,
  initTimeline: 7,
};

async function open(limits = { spoolBytesMax: 10_000, spoolWriteBytesMax: 10_000 }) {
  const metrics = new RecordingMetrics(createMetrics('test'));
  const spool = await Spool.open(folder, limits, { logger: createLogger('test', 'silent'), metrics });
  const failures = async (): Promise<string[]> =>
    (await metrics.spoolFailures.get()).values.map(({ labels }) => String(labels.reason));
  return { spool, failures };
}

function append(spool: Spool, text: string, isFirst = false): void {
  const bytes = new TextEncoder().encode(text);
  const header = {
    durationTicks: 30_000,
    independent: isFirst,
    bytes: bytes.length,
    digest: digestOf(bytes),
  };
  spool.append(place, { kind: 'part', ...(isFirst ? { origin } : {}), ...header }, bytes);
}

describe('Spool', () => {
  it('gives back parts as they were, and the segment when it is whole', async () => {
    const { spool } = await open();
    append(spool, 'first', true);
    append(spool, 'second');
    const begun = await spool.read(place);
    expect(begun).toMatchObject({ origin, entry: undefined });
    expect(begun?.parts.map(({ media }) => Buffer.from(media ?? []).toString())).toEqual(['first', 'second']);
    spool.append(place, { kind: 'end', digest: 'of the segment' }, undefined);
    const whole = await spool.read(place);
    expect(whole?.entry).toMatchObject({
      msn: 9,
      bytes: 11,
      durationTicks: 60_000,
      digest: 'of the segment',
    });
    expect(Buffer.from(whole?.bytes ?? []).toString()).toBe('firstsecond');
    expect(await spool.holds(place)).toBe(true);
    spool.remove(place);
    await spool.settle();
    expect(await spool.read(place)).toBeUndefined();
    expect(spool.bytes).toBe(0);
  });

  it('leaves out a record that was cut off, at whatever byte', async () => {
    const { spool } = await open();
    append(spool, 'first', true);
    await spool.settle();
    const firstBytes = readFileSync(file()).length;
    append(spool, 'second');
    await spool.settle();
    for (let size = readFileSync(file()).length - 1; size >= 0; size--) {
      truncateSync(file(), size);
      const read = readSpooled(readFileSync(file()));
      expect(read?.parts.length ?? 0).toBe(size >= firstBytes ? 1 : 0);
    }
  });

  it('refuses bytes that are not those that were written', async () => {
    const { spool } = await open();
    append(spool, 'first', true);
    await spool.settle();
    const bytes = readFileSync(file());
    bytes[bytes.length - 1] = 0;
    writeFileSync(file(), bytes);
    expect(await spool.read(place)).toBeUndefined();
    appendFileSync(file(), Buffer.alloc(100, 0xff));
    expect(await spool.read(place)).toBeUndefined();
  });

  it('does without what it has no room for, counts it, and keeps no half segment', async () => {
    const { spool, failures } = await open({ spoolBytesMax: 8, spoolWriteBytesMax: 100 });
    append(spool, 'first', true);
    append(spool, 'second');
    append(spool, 'x');
    expect(await spool.holds(place)).toBe(false);
    expect(await spool.read(place)).toBeUndefined();
    expect(await failures()).toEqual(['full']);
    expect(spool.bytes).toBe(0);
  });

  it('does without what a slow disk cannot keep up with', async () => {
    const { spool, failures } = await open({ spoolBytesMax: 1_000, spoolWriteBytesMax: 8 });
    append(spool, 'first', true);
    append(spool, 'second');
    expect(await failures()).toEqual(['behind']);
  });

  it('finds what an earlier process left', async () => {
    const { spool } = await open();
    append(spool, 'first', true);
    spool.writeState(place.ref, { hello: 'state' });
    spool.writeInit(place.ref, '720p', 7, new Uint8Array([1, 2]));
    await spool.settle();
    const { spool: next } = await open();
    const [found] = await next.scan();
    expect(found).toMatchObject({ ref: place.ref, state: { hello: 'state' } });
    expect(found?.renditions.get('720p')).toEqual({ msns: [9], inits: [7] });
    expect(next.bytes).toBeGreaterThan(0);
    expect(await next.readInit(place.ref, '720p', 7)).toEqual(new Uint8Array([1, 2]));
    next.removeRecording(place.ref);
    await next.settle();
    expect(await next.scan()).toEqual([]);
    expect(next.bytes).toBe(0);
  });
});
