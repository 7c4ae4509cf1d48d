/**
 * The broadcaster: draws pictures and sound paced to the wall clock and pipes them raw into an ffmpeg that publishes them
 * by RTMP. A process of its own, so that its cost is counted apart and its pacing does not wait for anybody.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import type { BroadcastOptions, BroadcastReport, FrameTimes } from '#bench/source/broadcaster-messages.ts';
import { FlvVideoTagCounter } from '#bench/source/flv-video-tags.ts';
import { MovingPicture, isFlash } from '#bench/source/moving-picture.ts';

const SAMPLE_RATE_HZ = 48_000;
const BEEP_HZ = 1_000;
const REPORT_INTERVAL_MS = 500;
const STDERR_BYTES_MAX = 16_384;

const epochMs = (): number => performance.timeOrigin + performance.now();
const report = (message: BroadcastReport): void => void process.send?.(message);

process.once('message', (options: BroadcastOptions) => broadcast(options));
// The parent has gone without a word: nobody wants these pictures any more.
process.once('disconnect', () => process.exit(0));

function broadcast(options: BroadcastOptions): void {
  const ffmpeg = spawn('ffmpeg', ffmpegArguments(options), { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
  const drawnAtMs = new Map<number, number>();
  let frames: FrameTimes[] = [];
  let stderr = '';
  const sent = new FlvVideoTagCounter((index) => {
    const drawn = drawnAtMs.get(index);
    drawnAtMs.delete(index);
    if (drawn !== undefined) frames.push({ index, drawnAtMs: drawn, sentAtMs: epochMs() });
  });
  ffmpeg.stdout?.on('data', (bytes: Buffer) => sent.push(bytes));
  ffmpeg.stderr?.on('data', (bytes: Buffer) => {
    stderr = (stderr + bytes.toString()).slice(-STDERR_BYTES_MAX);
  });
  setInterval(() => {
    if (frames.length > 0) report({ kind: 'frames', frames });
    frames = [];
  }, REPORT_INTERVAL_MS).unref();
  ffmpeg.once('close', (code) => {
    report({ kind: 'ended', code, stderr });
    process.disconnect();
    process.exit(code === 0 ? 0 : 1);
  });
  report({ kind: 'started', ffmpegPid: ffmpeg.pid ?? 0 });
  const stop = feed(ffmpeg, options, (index, atMs) => drawnAtMs.set(index, atMs));
  // Closing its inputs lets ffmpeg say goodbye (FCUnpublish) before it ends.
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

/** Draws and writes until stopped. A frame is due at start + index / rate; a late one is drawn at once, never dropped. */
function feed(
  ffmpeg: ChildProcess,
  options: BroadcastOptions,
  onDrawn: (index: number, atMs: number) => void,
): () => void {
  const picture = new MovingPicture(options);
  const video = ffmpeg.stdin as Writable;
  const audio = ffmpeg.stdio[3] as Writable;
  const intervalMs = 1_000 / options.frameRate;
  let index = 0;
  let stopped = false;
  let late = 0;
  let timer: NodeJS.Timeout | undefined;
  // A closed encoder shows as EPIPE here and as `close` above; the second one reports it.
  for (const pipe of [video, audio]) pipe.on('error', () => stop());
  const startMs = performance.now();
  const next = (): void => {
    if (stopped) return;
    const dueMs = startMs + index * intervalMs;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0.5) {
      timer = setTimeout(next, waitMs);
      return;
    }
    if (-waitMs > intervalMs) late += 1;
    const frame = new Uint8Array(picture.frameBytes);
    const atMs = epochMs();
    picture.draw(frame, index, index * intervalMs, atMs);
    onDrawn(index, atMs);
    audio.write(sound(index, options.frameRate));
    index += 1;
    // The encoder's pace is the limit when the machine cannot keep up: then the picture's clock shows the delay.
    if (video.write(frame)) setImmediate(next);
    else video.once('drain', next);
    if (late > 0 && index % options.frameRate === 0) {
      report({ kind: 'late', frames: late });
      late = 0;
    }
  };
  const stop = (): void => {
    if (stopped) return;
    stopped = true;
    clearTimeout(timer);
    video.end();
    audio.end();
  };
  next();
  return stop;
}

/** One frame's worth of 16-bit stereo: a beep with every flash, silence otherwise. */
function sound(index: number, frameRate: number): Buffer {
  const first = Math.round((index * SAMPLE_RATE_HZ) / frameRate);
  const count = Math.round(((index + 1) * SAMPLE_RATE_HZ) / frameRate) - first;
  const samples = Buffer.alloc(count * 4);
  for (let n = 0; n < count; n++) {
    const sample = first + n;
    if (!isFlash((sample * 1_000) / SAMPLE_RATE_HZ)) continue;
    const value = Math.round(8_000 * Math.sin((2 * Math.PI * BEEP_HZ * sample) / SAMPLE_RATE_HZ));
    samples.writeInt16LE(value, n * 4);
    samples.writeInt16LE(value, n * 4 + 2);
  }
  return samples;
}

function ffmpegArguments(options: BroadcastOptions): string[] {
  const gop = String(options.gopSeconds * options.frameRate);
  const bitrate = String(options.videoBitrateBps);
  const flv = 'f=flv:flvflags=no_duration_filesize:flush_packets=1';
  return [
    ['-hide_banner', '-nostdin', '-nostats', '-v', 'warning'],
    ['-probesize', '32', '-analyzeduration', '0', '-thread_queue_size', '8'],
    ['-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-framerate', String(options.frameRate)],
    ['-video_size', `${options.width}x${options.height}`, '-i', 'pipe:0'],
    ['-probesize', '32', '-analyzeduration', '0', '-thread_queue_size', '64'],
    ['-f', 's16le', '-ar', String(SAMPLE_RATE_HZ), '-ac', '2', '-i', 'pipe:3'],
    ['-map', '0:v', '-map', '1:a', '-flags', '+global_header'],
    ['-c:v', 'libx264', '-preset', options.preset, '-tune', 'zerolatency', '-profile:v', 'high'],
    ['-b:v', bitrate, '-maxrate', bitrate, '-bufsize', bitrate],
    ['-g', gop, '-keyint_min', gop, '-sc_threshold', '0'],
    ['-c:a', 'aac', '-b:a', '128k'],
    // The second leg is the same packets back to us: it dates the moment each frame left the encoder.
    ['-f', 'tee', `[${flv}]${options.rtmpUrl}|[${flv}]pipe:1`],
  ].flat();
}
