import cluster, { type Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { AggregatorRegistry, Counter, Gauge } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import { ListenError } from '#runtime/http/server.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import type { OriginSettings } from '#origin/settings.ts';
import type { FromWorker, ToWorker } from '#origin/workers/worker-messages.ts';

export type ServingWorkersDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
};

const WORKER = fileURLToPath(new URL('worker-process.ts', import.meta.url));
/** A worker that dies at once would otherwise be started again a hundred times a second. */
const RESTART_AFTER_MS = 250;
const START_DEADLINE_MS = 20_000;
const METRICS_DEADLINE_MS = 1_000;
const CLOSE_DEADLINE_MS = 3_000;

/**
 * `ORIGIN_WORKERS` processes that serve one port, each on a core of its own. The main process takes the uploads and renders
 * the playlists; a worker that dies is started again and the others serve on.
 */
export class ServingWorkers implements Disposable {
  readonly #settings: OriginSettings;
  readonly #mainUrl: string;
  readonly #deps: ServingWorkersDeps;
  readonly #workers = new Set<Worker>();
  readonly #restarts: Counter;
  #requests = 0;
  #port: number;
  #closing = false;

  private constructor(settings: OriginSettings, mainUrl: string, deps: ServingWorkersDeps) {
    this.#settings = settings;
    this.#mainUrl = mainUrl;
    this.#deps = deps;
    this.#port = settings.ORIGIN_PORT;
    const registers = [deps.metrics];
    this.#restarts = new Counter({
      name: 'origin_worker_restarts_total',
      help: 'Serving workers that died and were started again.',
      registers,
    });
    const workers = this.#workers;
    new Gauge({
      name: 'origin_workers',
      help: 'Serving workers that run.',
      registers,
      collect() {
        this.set(workers.size);
      },
    });
  }

  /**
   * Starts the workers and waits until all of them serve.
   *
   * @param mainUrl where the main process answers them
   * @throws {ListenError} when a worker cannot serve: the port is taken, a certificate cannot be read
   */
  static async start(
    settings: OriginSettings,
    mainUrl: string,
    deps: ServingWorkersDeps,
  ): Promise<ServingWorkers> {
    cluster.setupPrimary({ exec: WORKER, args: [], execArgv: [], silent: false });
    const workers = new ServingWorkers(settings, mainUrl, deps);
    try {
      // One after the other: the first one finds out whether the port can be had. Of port 0, all get the same.
      for (let started = 0; started < settings.ORIGIN_WORKERS; started++) await workers.#startOne();
    } catch (error) {
      await workers.close();
      throw error;
    }
    return workers;
  }

  get port(): number {
    return this.#port;
  }

  /** As a client on this machine reaches the workers. */
  get url(): string {
    const { ORIGIN_HOST: host, ORIGIN_TLS_CERT_FILE: cert } = this.#settings;
    const shownHost = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
    return `${cert === '' ? 'http' : 'https'}://${shownHost}:${this.#port}`;
  }

  /** The metrics of all workers and of this process in one. */
  async metrics(): Promise<string> {
    const own = await this.#deps.metrics.getMetricsAsJSON();
    const answers = await Promise.all([...this.#workers].map((worker) => this.#askMetrics(worker)));
    const all = [own, ...answers.filter((answer) => answer !== undefined)];
    return AggregatorRegistry.aggregate(all).metrics();
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#workers].map((worker) => this.#closeOne(worker)));
  }

  async #startOne(): Promise<void> {
    const worker = cluster.fork();
    this.#workers.add(worker);
    worker.once('exit', (code, signal) => this.#onExit(worker, code, signal));
    tell(worker, {
      do: 'start',
      settings: this.#settings,
      mainUrl: this.#mainUrl,
      workers: this.#settings.ORIGIN_WORKERS,
    });
    const answer = await this.#answerOf(
      worker,
      START_DEADLINE_MS,
      (message) => message.is === 'serving' || message.is === 'failed',
    );
    if (answer?.is !== 'serving') {
      const why = answer?.is === 'failed' ? answer.message : 'it said nothing';
      throw new ListenError(`a worker does not serve: ${why}`);
    }
    this.#port = answer.port;
  }

  #onExit(worker: Worker, code: number | null, signal: string | null): void {
    this.#workers.delete(worker);
    if (this.#closing) return;
    this.#restarts.inc();
    this.#deps.logger.error({ worker: worker.process.pid, code, signal }, 'a worker died, starting another');
    this.#deps.clock.after(RESTART_AFTER_MS, () => {
      if (this.#closing) return;
      this.#startOne().catch((error: unknown) => {
        this.#deps.logger.error({ err: error }, 'a worker does not start');
        // Its end starts the next attempt.
        worker.process.kill('SIGKILL');
      });
    });
  }

  async #askMetrics(worker: Worker): Promise<object | undefined> {
    const request = ++this.#requests;
    tell(worker, { do: 'metrics', request });
    const answer = await this.#answerOf(
      worker,
      METRICS_DEADLINE_MS,
      (message) => message.is === 'metrics' && message.request === request,
    );
    return answer?.is === 'metrics' ? answer.metrics : undefined;
  }

  async #closeOne(worker: Worker): Promise<void> {
    await new Promise<void>((resolve) => {
      if (worker.isDead()) return resolve();
      const timer = this.#deps.clock.after(CLOSE_DEADLINE_MS, () => worker.process.kill('SIGKILL'));
      worker.once('exit', () => {
        timer.cancel();
        resolve();
      });
      tell(worker, { do: 'close' });
    });
  }

  /** The first message of a worker that fits; undefined when it dies or says nothing in time. */
  #answerOf(
    worker: Worker,
    deadlineMs: number,
    fits: (message: FromWorker) => boolean,
  ): Promise<FromWorker | undefined> {
    return new Promise((resolve) => {
      const end = (message: FromWorker | undefined): void => {
        timer.cancel();
        worker.off('message', onMessage);
        worker.off('exit', onExit);
        resolve(message);
      };
      const onMessage = (message: FromWorker): void => {
        if (fits(message)) end(message);
      };
      const onExit = (): void => end(undefined);
      const timer = this.#deps.clock.after(deadlineMs, () => end(undefined));
      worker.on('message', onMessage);
      worker.once('exit', onExit);
    });
  }
}

/** A worker that has just died hears nothing; its exit event says so. */
function tell(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message);
}
