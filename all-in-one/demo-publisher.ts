import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';

/** Where and as whom the test picture is published. */
export type DemoPublisherOptions = {
  /** `rtmp://host:port/app` */
  readonly rtmpUrl: string;
  readonly streamKey: string;
  /** A folder of ours for the file that hands ffmpeg the key. */
  readonly dataDir: string;
};

export type DemoPublisherDeps = { readonly clock: Clock; readonly logger: Logger };

const RESTART_PAUSE_MIN_MS = 500;
const RESTART_PAUSE_MAX_MS = 5_000;
/** An ffmpeg that lived this long has earned a quick restart. */
const STEADY_AFTER_MS = 10_000;
const STOP_GRACE_MS = 2_000;
const COMPLAINT_BYTES_MAX = 2_000;

/**
 * Publishes a moving test picture with a burnt-in UTC clock and a tone through RTMP, as any broadcaster would: 1280×720,
 * 30 frames per second, a key frame every 2 s. An ffmpeg that dies is started again.
 */
export class DemoPublisher implements Disposable {
  readonly #options: DemoPublisherOptions;
  readonly #deps: DemoPublisherDeps;
  #child: ChildProcess | undefined;
  #restart: Timer | undefined;
  #pauseMs = RESTART_PAUSE_MIN_MS;
  #closing = false;

  private constructor(options: DemoPublisherOptions, deps: DemoPublisherDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** Begins to publish; does not wait until the picture is on air. */
  static async start(options: DemoPublisherOptions, deps: DemoPublisherDeps): Promise<DemoPublisher> {
    const publisher = new DemoPublisher(options, deps);
    // Arguments can be read by every user of the machine; this file by its owner only.
    await writeFile(publisher.#keyFile, `rtmp_playpath=${options.streamKey}\n`, { mode: 0o600 });
    publisher.#launch();
    return publisher;
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#restart?.cancel();
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const force = this.#deps.clock.after(STOP_GRACE_MS, () => child.kill('SIGKILL'));
      await exited;
      force.cancel();
    }
    await rm(this.#keyFile, { force: true });
  }

  get #keyFile(): string {
    return join(this.#options.dataDir, 'demo-publisher.ffpreset');
  }

  #launch(): void {
    const { clock, logger } = this.#deps;
    const startedMs = clock.monotonicMs();
    const child = spawn('ffmpeg', demoArguments(this.#options.rtmpUrl, this.#keyFile), {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-COMPLAINT_BYTES_MAX);
    });
    let ended = false;
    const onEnd = (how: string): void => {
      if (ended) return;
      ended = true;
      this.#child = undefined;
      if (this.#closing) return;
      if (clock.monotonicMs() - startedMs > STEADY_AFTER_MS) this.#pauseMs = RESTART_PAUSE_MIN_MS;
      const pauseMs = this.#pauseMs;
      this.#pauseMs = Math.min(RESTART_PAUSE_MAX_MS, pauseMs * 2);
      logger.warn({ how, complaint, pauseMs }, 'the demo publisher ended, starting it again');
      this.#restart = clock.after(pauseMs, () => this.#launch());
    };
    child.on('error', (error) => onEnd(error.message));
    child.on('close', (status, signal) => onEnd(`status ${String(status ?? signal)}`));
  }
}

/** The arguments of the demo's ffmpeg; the stream key is not among them. */
export function demoArguments(rtmpUrl: string, keyFile: string): string[] {
  const clock = '%{gmtime\\:%H\\\\\\:%M\\\\\\:%S}.%{eif\\:mod(trunc(time(0)*1000)\\,1000)\\:d\\:3} UTC';
  const box = 'fontcolor=white:box=1:boxcolor=black@0.65';
  const picture = [
    `drawtext=font=DejaVu Sans Mono:fontsize=64:${box}:boxborderw=18:x=(w-tw)/2:y=h-th-64:text='${clock}'`,
    `drawtext=font=DejaVu Sans:fontsize=30:${box}:boxborderw=12:x=(w-tw)/2:y=60:text='Demo stream'`,
  ].join(',');
  return [
    ['-hide_banner', '-nostdin', '-nostats', '-v', 'warning'],
    ['-re', '-f', 'lavfi', '-i', 'testsrc2=size=1280x720:rate=30'],
    ['-f', 'lavfi', '-i', 'sine=frequency=440:beep_factor=2:sample_rate=48000'],
    ['-vf', picture],
    ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p'],
    ['-b:v', '2500k', '-maxrate', '2500k', '-bufsize', '2500k'],
    ['-g', '60', '-keyint_min', '60', '-sc_threshold', '0'],
    ['-c:a', 'aac', '-b:a', '128k', '-ac', '2'],
    ['-fpre', keyFile, '-f', 'flv', rtmpUrl],
  ].flat();
}
