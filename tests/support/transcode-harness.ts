import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { boxesIn } from '#protocol/cmaf/boxes.ts';
import { parsePart, type CmafSample } from '#protocol/cmaf/fragment.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { PartSink, type SunkPart, type SunkTimeline } from '#tests/support/part-sink.ts';
import type { IncomingPublish } from '#transcoder/ingest/incoming-publish.ts';
import { readTranscoderSettings, toSessionSettings } from '#transcoder/settings.ts';
import { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';
import { TranscodeSession } from '#transcoder/worker/transcode-session.ts';

/** One transcode session with real ffmpeg, from a made-up broadcaster to a sink that takes the parts. */
export type TranscodeHarness = {
  readonly sink: PartSink;
  readonly session: TranscodeSession;
  readonly registry: Registry;
  /** Resolves when the session is over. */
  readonly done: Promise<void>;
  close(): Promise<void>;
};

/** Starts a session; `env` sets what differs from the defaults. */
export async function startTranscode(
  publish: IncomingPublish,
  env: Readonly<Record<string, string>> = {},
): Promise<TranscodeHarness> {
  const sink = await PartSink.start();
  const settings = readTranscoderSettings({ INGEST_TOKEN: 'test-token', ORIGIN_URLS: sink.url, ...env });
  const registry = new Registry();
  const session = new TranscodeSession(publish, toSessionSettings(settings), {
    clock: systemClock,
    logger: createLogger('test', 'silent'),
    metrics: new TranscodeMetrics(registry),
  });
  const done = session.run();
  return {
    sink,
    session,
    registry,
    done,
    close: async () => {
      session.stop();
      await done;
      await sink.close();
    },
  };
}

/** The sum of a counter or gauge over its labels. */
export async function metricValue(
  registry: Registry,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const values = (await registry.getSingleMetric(name)?.get())?.values ?? [];
  return values
    .filter((one) => Object.entries(labels).every(([label, value]) => one.labels[label] === value))
    .reduce((sum, one) => sum + one.value, 0);
}

/** `segment.part` of a part within its timeline, with what is special about it. */
export function nameOf(part: SunkPart, timeline: SunkTimeline): string {
  return `${part.msn - timeline.firstMsn}.${part.part}`;
}

/** The frames of a part. */
export function samplesOf(part: SunkPart): CmafSample[] {
  return parsePart(part.bytes, { durationTicks: 0, sizeBytes: 0, flags: 0 });
}

/** H.264 NAL unit types of a frame with four-byte lengths. */
export function nalTypesOf(frame: Uint8Array): number[] {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const types: number[] = [];
  for (let offset = 0; offset + 4 < frame.length; offset += 4 + view.getUint32(offset))
    types.push((frame[offset + 4] ?? 0) & 0x1f);
  return types;
}

/** Whether bytes are exactly boxes of these types. */
export function hasBoxes(bytes: Uint8Array, types: readonly string[]): boolean {
  return [...boxesIn(bytes)].map((box) => box.type).join(' ') === types.join(' ');
}

/** Runs a program and gives what it says; a status other than 0 is an error. */
export async function runProgram(
  program: string,
  args: readonly string[],
): Promise<{ stdout: string; stderr: string }> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}`);
  return { stdout, stderr };
}

/** Gives files to `use` in a folder that is removed afterwards. */
export async function withFiles<Value>(
  files: Readonly<Record<string, Uint8Array>>,
  use: (pathOf: (name: string) => string) => Promise<Value>,
): Promise<Value> {
  const folder = await mkdtemp(join(tmpdir(), 'transcode-test-'));
  try {
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
    return await use((name) => join(folder, name));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What ffprobe and a full decode say about a file of one track. */
export type ProbedFile = {
  readonly packets: number;
  readonly startS: number;
  /** Presentation times of key frames, seconds. */
  readonly keyTimesS: readonly number[];
  /** What the decoder complained about. */
  readonly complaints: string;
};

/** Reads init and parts as one file with ffprobe and decodes all of it. */
export function probeFile(bytes: Uint8Array): Promise<ProbedFile> {
  return withFiles({ 'track.mp4': bytes }, async (pathOf) => {
    const path = pathOf('track.mp4');
    const entries = ['-v', 'error', '-show_entries', 'packet=pts_time,flags', '-of', 'csv=p=0', path];
    const { stdout } = await runProgram('ffprobe', entries);
    const packets = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(','));
    const { stderr } = await runProgram('ffmpeg', ['-v', 'error', '-i', path, '-f', 'null', '-']);
    return {
      packets: packets.length,
      startS: Number(packets[0]?.[0]),
      keyTimesS: packets.filter(([, flags]) => flags?.startsWith('K')).map(([time]) => Number(time)),
      complaints: stderr.trim(),
    };
  });
}
