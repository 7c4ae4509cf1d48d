import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { BroadcastOptions, BroadcastReport, FrameTimes } from '#bench/source/broadcaster-messages.ts';

export type { BroadcastOptions, FrameTimes } from '#bench/source/broadcaster-messages.ts';

const STOP_DEADLINE_MS = 5_000;

/** A broadcaster that is on the air. */
export type Broadcaster = {
  /** The process that draws, and the ffmpeg below it that encodes. */
  readonly pid: number;
  readonly ffmpegPid: number;
  /** Every frame that has left the encoder so far, in order. */
  readonly frames: readonly FrameTimes[];
  /** Frames that were drawn more than one frame interval late. */
  readonly lateFrames: () => number;
  /** Resolves with the encoder's exit code and its last words when it has ended, for whatever reason. */
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
  /** Says goodbye to the server and ends; by force after 5 s. */
  stop(): Promise<void>;
};

/**
 * Starts the broadcaster process: 4:2:0 pictures with the clock barcode and a beep every second, H.264 + AAC by RTMP.
 *
 * @throws when the process cannot start or ffmpeg is not installed
 */
export async function startBroadcaster(options: BroadcastOptions): Promise<Broadcaster> {
  const child = fork(fileURLToPath(new URL('./broadcaster-process.ts', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const frames: FrameTimes[] = [];
  let lateFrames = 0;
  const ended = Promise.withResolvers<{ code: number | null; stderr: string }>();
  const started = Promise.withResolvers<number>();
  child.on('message', (message: BroadcastReport) => {
    switch (message.kind) {
      case 'started':
        started.resolve(message.ffmpegPid);
        break;
      case 'frames':
        frames.push(...message.frames);
        break;
      case 'late':
        lateFrames += message.frames;
        break;
      case 'ended':
        ended.resolve(message);
        break;
    }
  });
  child.once('exit', (code) => {
    ended.resolve({ code, stderr: '' });
    started.reject(new Error(`the broadcaster process ended with ${code} before it was on the air`));
  });
  await once(child, 'spawn');
  child.send(options);
  const ffmpegPid = await started.promise;
  return {
    pid: child.pid ?? 0,
    ffmpegPid,
    frames,
    lateFrames: () => lateFrames,
    ended: ended.promise,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const force = setTimeout(() => {
        process.kill(ffmpegPid, 'SIGKILL');
        child.kill('SIGKILL');
      }, STOP_DEADLINE_MS);
      await exited;
      clearTimeout(force);
    },
  };
}
