import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { within } from '#tests/support/wait-for.ts';

/** What a test broadcaster sends. Everything has a default. */
export type PublisherOptions = {
  /** `rtmp://host:port/app/key`. */
  readonly rtmpUrl: string;
  readonly width?: number;
  readonly height?: number;
  /** As ffmpeg writes rates: `30`, `30000/1001`. */
  readonly frameRate?: string;
  /** Key frame distance in frames. */
  readonly gopFrames?: number;
  readonly video?: 'h264' | 'none';
  readonly bFrames?: number;
  readonly videoBitrate?: string;
  readonly audio?: 'aac' | 'none';
  readonly channels?: 1 | 2;
  readonly sampleRateHz?: number;
  /** `test`: a moving test picture and a tone. `flash-beep`: black and silent but for 100 ms of each full second. */
  readonly content?: 'test' | 'flash-beep';
  /** Ends by itself after this much media; without it, not. */
  readonly durationS?: number;
};

/** A running ffmpeg that publishes by RTMP. */
export type Publisher = {
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  /** What it wrote to standard error. */
  stderr(): string;
  /** Says goodbye (FCUnpublish, deleteStream) and ends. */
  stop(): Promise<void>;
  /** Is gone from one moment to the next, as after a power cut (the kernel still closes its connection). */
  kill(): Promise<void>;
};

const STOP_DEADLINE_MS = 5_000;
const STDERR_BYTES_MAX = 32_768;

/** Starts a real ffmpeg as broadcaster, paced to real time. It is on its way when this returns, not yet accepted. */
export async function startPublisher(options: PublisherOptions): Promise<Publisher> {
  const child = spawn('ffmpeg', publisherArguments(options), { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString()).slice(-STDERR_BYTES_MAX);
  });
  const ended = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as string | null,
  }));
  await once(child, 'spawn');
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await within('the end of the publisher', STOP_DEADLINE_MS, ended);
  };
  return {
    pid: child.pid ?? 0,
    ended,
    stderr: () => stderr,
    stop: () => end('SIGINT'),
    kill: () => end('SIGKILL'),
  };
}

function publisherArguments(options: PublisherOptions): string[] {
  const { width = 640, height = 360, frameRate = '30', gopFrames, content = 'test', channels = 2 } = options;
  const { video = 'h264', audio = 'aac', sampleRateHz = 48_000 } = options;
  const [numerator = 30, denominator = 1] = frameRate.split('/').map(Number);
  const gop = String(gopFrames ?? Math.round((2 * numerator) / denominator));
  const picture =
    content === 'test'
      ? `testsrc2=size=${width}x${height}:rate=${frameRate}`
      : `color=black:size=${width}x${height}:rate=${frameRate},drawbox=color=white:t=fill:enable='lt(mod(t,1),0.1)'`;
  const tone = content === 'test' ? 'sin(2*PI*440*t)/8' : 'if(lt(mod(t,1),0.1),sin(2*PI*1000*t)/2,0)';
  const sound = `aevalsrc='${Array.from({ length: channels }, () => tone).join('|')}':s=${sampleRateHz}`;
  const inputs: string[] = [];
  if (video === 'h264') inputs.push('-re', '-f', 'lavfi', '-i', picture);
  if (audio === 'aac') inputs.push('-re', '-f', 'lavfi', '-i', sound);
  const encoders: string[] = [];
  if (video === 'h264') encoders.push(...videoEncoder(options, gop));
  if (audio === 'aac') encoders.push('-c:a', 'aac', '-b:a', '96k');
  return [
    ['-hide_banner', '-nostdin', '-nostats', '-v', 'warning'],
    inputs,
    options.durationS === undefined ? [] : ['-t', String(options.durationS)],
    encoders,
    ['-flvflags', 'no_duration_filesize', '-f', 'flv', options.rtmpUrl],
  ].flat();
}

function videoEncoder({ bFrames = 0, videoBitrate = '1500k' }: PublisherOptions, gop: string): string[] {
  return [
    ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-b:v', videoBitrate],
    ['-g', gop, '-keyint_min', gop, '-sc_threshold', '0', '-bf', String(bFrames)],
    bFrames === 0 ? ['-tune', 'zerolatency'] : [],
  ].flat();
}
