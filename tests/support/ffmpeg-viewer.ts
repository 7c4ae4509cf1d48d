import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** A real ffmpeg that plays a stream into nothing. */
export type FfmpegViewer = {
  /** Media that it has read, seconds. */
  playedS(): Promise<number>;
  stop(): Promise<void>;
};

/** Starts ffmpeg on a playlist; it reads as fast as the stream comes. */
export async function startFfmpegViewer(url: string): Promise<FfmpegViewer> {
  const child = spawn(
    'ffmpeg',
    [
      ['-hide_banner', '-nostdin', '-v', 'error', '-progress', 'pipe:1', '-i', url],
      ['-map', '0:v:0', '-c', 'copy', '-f', 'null', '-'],
    ].flat(),
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let playedUs = 0;
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text = (text + more).slice(-4_096);
    const last = [...text.matchAll(/^out_time_us=(\d+)$/gm)].at(-1)?.[1];
    if (last !== undefined) playedUs = Number(last);
  });
  await once(child, 'spawn');
  return {
    playedS: () => Promise.resolve(playedUs / 1_000_000),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
