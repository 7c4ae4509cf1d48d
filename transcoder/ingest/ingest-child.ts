import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { LogLevel } from '#runtime/log.ts';
import type { IngestSettings } from './ingest-settings.ts';
import { CRASH_EXIT_STATUS, FromIngestMessage, type ToIngestMessage } from './ipc-messages.ts';

/** The ingest process could not be started. `code` is `listen_failed` when its port is taken. */
export class IngestStartError extends Error {
  override readonly name = 'IngestStartError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** How an ingest process came to its end. */
export type IngestExit = 'stopped' | 'crashed' | 'killed' | 'exited' | 'stuck';

export type IngestChildOptions = {
  readonly settings: IngestSettings;
  readonly relayPath: string;
  readonly logLevel: LogLevel;
  readonly clock: Clock;
  /** Receives what the process writes to standard error: a file descriptor; ours without one. */
  readonly standardError?: number;
  /** Arguments for Node itself. */
  readonly nodeArguments?: readonly string[];
  readonly onMessage: (message: FromIngestMessage) => void;
};

/** Variables that a Node process may need from its surroundings; all others, secrets among them, stay with us. */
const ENVIRONMENT_PASSED_ON = ['PATH', 'HOME', 'TMPDIR', 'TZ', 'LANG', 'NODE_ENV', 'NODE_EXTRA_CA_CERTS'];
const START_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 5_000;
/** A process that has not reported for so long hangs. */
const STUCK_AFTER_MS = 10_000;
const STUCK_SECOND_LOOK_MS = 250;

/** One ingest process, from its start to its end. */
export class IngestChild {
  readonly #process: ChildProcess;
  readonly #options: IngestChildOptions;
  #exitCause: IngestExit | undefined;
  #watch: Timer | undefined;
  /** Resolves when the process is gone; never rejects. */
  readonly exited: Promise<IngestExit>;
  /** Resolves with the RTMP port when broadcasters can connect; rejects with {@link IngestStartError}. */
  readonly ready: Promise<number>;

  constructor(options: IngestChildOptions) {
    this.#options = options;
    const { settings, relayPath, logLevel } = options;
    this.#process = fork(fileURLToPath(new URL('./main.ts', import.meta.url)), [], {
      execPath: process.execPath,
      execArgv: [...(options.nodeArguments ?? [])],
      env: Object.fromEntries(ENVIRONMENT_PASSED_ON.map((name) => [name, process.env[name]])),
      stdio: ['ignore', 'ignore', options.standardError ?? 'inherit', 'ipc'],
    });
    this.exited = new Promise((resolve) => {
      this.#process.once('exit', (status) => {
        this.#watch?.cancel();
        resolve(this.#exitCause ?? exitCause(status));
      });
    });
    this.ready = this.#awaitReady();
    this.ready.catch(() => {});
    this.#process.on('error', () => this.kill('killed'));
    this.#send({ type: 'start', settings, relayPath, logLevel });
  }

  get processId(): number | undefined {
    return this.#process.pid;
  }

  /** Asks the process to end and waits for it; ends it the hard way when it takes too long. */
  async stop(): Promise<void> {
    this.#exitCause ??= 'stopped';
    this.#send({ type: 'stop' });
    const force = this.#options.clock.after(STOP_TIMEOUT_MS, () => this.#process.kill('SIGKILL'));
    await this.exited;
    force.cancel();
  }

  /** Ends the process at once. */
  kill(cause: IngestExit): void {
    this.#exitCause ??= cause;
    this.#process.kill('SIGKILL');
  }

  #awaitReady(): Promise<number> {
    return new Promise((resolve, reject) => {
      const deadline = this.#options.clock.after(START_TIMEOUT_MS, () => {
        reject(
          new IngestStartError(
            'ingest_start_failed',
            `the ingest did not start within ${START_TIMEOUT_MS} ms`,
          ),
        );
        this.kill('stuck');
      });
      this.#process.on('message', (raw) => {
        const parsed = FromIngestMessage.safeParse(raw);
        if (!parsed.success) return this.kill('crashed');
        const message = parsed.data;
        this.#isAlive();
        if (message.type === 'ready') {
          deadline.cancel();
          resolve(message.rtmpPort);
        }
        if (message.type === 'start-failed') reject(new IngestStartError(message.code, message.message));
        this.#options.onMessage(message);
      });
      void this.exited.then((cause) => {
        deadline.cancel();
        reject(new IngestStartError('ingest_start_failed', `the ingest process ended at once (${cause})`));
      });
    });
  }

  #isAlive(): void {
    this.#watch?.cancel();
    this.#watch = this.#options.clock.after(STUCK_AFTER_MS, () => {
      // If it was we who were held up, its reports are waiting to be read: look again after them.
      this.#watch = this.#options.clock.after(STUCK_SECOND_LOOK_MS, () => this.kill('stuck'));
    });
  }

  #send(message: ToIngestMessage): void {
    // A process that is gone cannot be told; its `exit` event says the rest.
    if (this.#process.connected) this.#process.send(message, () => {});
  }
}

function exitCause(status: number | null): IngestExit {
  if (status === CRASH_EXIT_STATUS) return 'crashed';
  return status === null ? 'killed' : 'exited';
}
