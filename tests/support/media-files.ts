import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RecordedRendition } from '#tests/support/recorded-run.ts';

const run = promisify(execFile);

/** One track of a file as ffprobe counts it. */
export type ProbedTrack = {
  readonly codec: string;
  readonly packets: number;
  readonly keyPackets: number;
  /** Presentation times of the first and the last packet, seconds. */
  readonly firstS: number;
  readonly lastS: number;
  /** Largest step between neighbouring decoding times, seconds. */
  readonly largestStepS: number;
};

/** The init segment of a recorded rendition and `count` of its segments behind one another, oldest first. */
export function joinSegments(rendition: RecordedRendition, count: number): Uint8Array {
  const whole = rendition.resources.filter(({ kind, status }) => kind === 'segment' && status === 200);
  const msn = ({ url }: { url: string }): number => Number(/(\d+)\.m4s/.exec(url)?.[1]);
  const segments = whole.toSorted((a, b) => msn(a) - msn(b)).slice(0, count);
  const init = rendition.resources.find(({ kind }) => kind === 'init');
  if (init === undefined || segments.length < count)
    throw new Error(`${rendition.url}: ${segments.length} segments recorded, ${count} wanted`);
  return Buffer.concat([init.body, ...segments.map(({ body }) => body)]);
}

/** Writes bytes to a file for the time of `use`. */
export async function withFile<Result>(
  bytes: Uint8Array,
  use: (path: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'live-media-'));
  try {
    const path = join(folder, 'media.mp4');
    await writeFile(path, bytes);
    return await use(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads a file with ffprobe. @throws when it says anything at all on standard error */
export async function probeTrack(path: string): Promise<ProbedTrack> {
  const entries = 'stream=codec_name:packet=pts_time,dts_time,flags';
  const args = ['-v', 'warning', '-show_entries', entries, '-of', 'json', path];
  const { stdout, stderr } = await run('ffprobe', args);
  if (stderr !== '') throw new Error(`ffprobe complains: ${stderr}`);
  const { streams, packets } = JSON.parse(stdout) as {
    streams: { codec_name: string }[];
    packets: { pts_time: string; dts_time: string; flags: string }[];
  };
  const decoded = packets.map(({ dts_time }) => Number(dts_time));
  const presented = packets.map(({ pts_time }) => Number(pts_time));
  return {
    codec: streams.map(({ codec_name }) => codec_name).join('+'),
    packets: packets.length,
    keyPackets: packets.filter(({ flags }) => flags.startsWith('K')).length,
    firstS: Math.min(...presented),
    lastS: Math.max(...presented),
    largestStepS: Math.max(...decoded.slice(1).map((time, index) => time - (decoded[index] ?? 0))),
  };
}

/** Presentation times at which a black picture turns white, seconds. */
export function flashTimes(path: string): Promise<number[]> {
  return filterTimes(['-i', path, '-an', '-vf', 'blackdetect=d=0.1:pix_th=0.3'], /black_end:([\d.]+)/g);
}

/** Presentation times at which silence ends, seconds. */
export function beepTimes(path: string): Promise<number[]> {
  return filterTimes(['-i', path, '-vn', '-af', 'silencedetect=n=-30dB:d=0.1'], /silence_end: ([\d.]+)/g);
}

async function filterTimes(args: string[], pattern: RegExp): Promise<number[]> {
  const { stderr } = await run('ffmpeg', [
    '-hide_banner',
    '-nostdin',
    '-nostats',
    '-copyts',
    ...args,
    '-f',
    'null',
    '-',
  ]);
  return [...stderr.matchAll(pattern)].map(([, time]) => Number(time));
}
