import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Counter, Gauge } from 'prom-client';
import type { Clock, Timer } from '#runtime/clock.ts';
import { LOG_LEVELS, type Logger, type LogLevel } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { OriginClient, type OriginCallError } from '#transcoder/origin-client.ts';
import type { IncomingPublish } from './incoming-publish.ts';
import { IngestChild, IngestStartError, type IngestExit } from './ingest-child.ts';
import { createIngestMetrics } from './ingest-metrics.ts';
import type { IngestSettings } from './ingest-settings.ts';
import type { FromIngestMessage } from './ipc-messages.ts';
import { MetricsMirror } from './metrics-mirror.ts';
import { RelayedPublish } from './relayed-publish.ts';

/** What an {@link IngestSupervisor} is given. */
export type IngestSupervisorDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** File descriptor for the log of the ingest process; our own standard error without one. */
  readonly standardError?: number;
  /** Arguments for the Node of the ingest process. */
  readonly nodeArguments?: readonly string[];
};

const RESTART_PAUSE_MIN_MS = 100;
const RESTART_PAUSE_MAX_MS = 5_000;
/** A process that ran for so long was not broken from the start: the next pause is short again. */
const STABLE_AFTER_MS = 30_000;

/**
 * Keeps the RTMP ingest running in a child process of its own and hands its publishes on. A child that dies is started
 * again, on the same port, after a growing pause; its publishes end as `lost`.
 */
export class IngestSupervisor {
  readonly #settings: IngestSettings;
  readonly #deps: IngestSupervisorDeps;
  readonly #logger: Logger;
  readonly #listeners: ((publish: IncomingPublish) => void)[] = [];
  readonly #publishes = new Map<string, RelayedPublish>();
  readonly #origin: OriginClient;
  readonly #mirror: MetricsMirror;
  readonly #ingestMetrics;
  readonly #up: Gauge;
  readonly #restarts: Counter<'cause'>;
  #child: IngestChild | undefined;
  /** Settles when nothing of the last child is left. */
  #gone: Promise<void> | undefined;
  #rtmpPort: number;
  #startCount = 0;
  #pauseMs = RESTART_PAUSE_MIN_MS;
  #restartTimer: Timer | undefined;
  #isReady = false;
  #isClosing = false;

  constructor(settings: IngestSettings, deps: IngestSupervisorDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#logger = deps.logger.child({ subsystem: 'ingest-supervisor' });
    this.#rtmpPort = settings.rtmpPort;
    this.#origin = new OriginClient({ ...settings, ...settings.limits });
    this.#ingestMetrics = createIngestMetrics(deps.metrics);
    this.#mirror = new MetricsMirror(this.#ingestMetrics);
    const registers = [deps.metrics];
    this.#up = new Gauge({ name: 'ingest_up', help: 'Whether broadcasters can connect', registers });
    this.#restarts = new Counter({
      name: 'ingest_process_exits_total',
      help: 'Unwanted ends of the ingest process, by cause',
      labelNames: ['cause'],
      registers,
    });
  }

  /** Whether broadcasters can connect now. */
  get ready(): boolean {
    return this.#isReady;
  }

  /** Process id of the ingest, while there is one. */
  get processId(): number | undefined {
    return this.#child?.processId;
  }

  /**
   * Starts the child; resolves when it listens.
   *
   * @throws {IngestStartError} with code `listen_failed` when the port is taken, `ingest_start_failed` otherwise
   */
  async start(): Promise<{ rtmpPort: number }> {
    const child = await this.#spawn();
    try {
      this.#rtmpPort = await child.ready;
    } catch (error) {
      this.#isClosing = true;
      await child.stop();
      await this.close();
      throw error;
    }
    this.#becameReady();
    return { rtmpPort: this.#rtmpPort };
  }

  /**
   * Calls `listener` for every broadcaster that the origin has accepted, before its first packet. Register before
   * {@link start}; a listener that throws is logged.
   */
  onPublish(listener: (publish: IncomingPublish) => void): void {
    this.#listeners.push(listener);
  }

  /** Ends every publish as `lost`, stops the child and removes what it left behind. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#setReady(false);
    this.#restartTimer?.cancel();
    await this.#child?.stop();
    await this.#gone;
    await this.#origin.close();
  }

  async #spawn(): Promise<IngestChild> {
    // mkdtemp makes it readable by our own user only: that is who may read the relay.
    const directory = await mkdtemp(join(tmpdir(), 'ingest-relay-'));
    const remove = (): Promise<void> => rm(directory, { recursive: true, force: true });
    if (this.#isClosing) {
      await remove();
      throw new IngestStartError('ingest_start_failed', 'the ingest is being closed');
    }
    const relayPath = join(directory, `${++this.#startCount}.sock`);
    const { clock, standardError, nodeArguments } = this.#deps;
    const child = new IngestChild({
      settings: { ...this.#settings, rtmpPort: this.#rtmpPort },
      relayPath,
      logLevel: toLogLevel(this.#logger.level),
      clock,
      ...(standardError === undefined ? {} : { standardError }),
      ...(nodeArguments === undefined ? {} : { nodeArguments }),
      onMessage: (message) => this.#onMessage(message, relayPath),
    });
    this.#child = child;
    const startedMs = clock.monotonicMs();
    this.#gone = child.exited.then(async (cause) => {
      this.#onExit(cause, clock.monotonicMs() - startedMs);
      await remove().catch((error: unknown) =>
        this.#logger.warn({ err: error }, 'a directory was left behind'),
      );
    });
    return child;
  }

  #onMessage(message: FromIngestMessage, relayPath: string): void {
    switch (message.type) {
      case 'publish-started': {
        const publish = new RelayedPublish(message.grant, relayPath, this.#deps.clock);
        this.#publishes.set(message.grant.sessionId, publish);
        for (const listener of this.#listeners) this.#announce(publish, listener);
        return;
      }
      case 'publish-ended':
        this.#publishes.get(message.sessionId)?.end(message.reason);
        this.#publishes.delete(message.sessionId);
        return;
      case 'metrics':
        return this.#mirror.apply(message.samples);
      case 'ready':
      case 'start-failed':
        return;
    }
  }

  #announce(publish: IncomingPublish, listener: (publish: IncomingPublish) => void): void {
    try {
      listener(publish);
    } catch (error) {
      this.#logger.error(
        { err: error, sessionId: publish.grant.sessionId },
        'a listener failed on a publish',
      );
    }
  }

  #onExit(cause: IngestExit, ranMs: number): void {
    this.#child = undefined;
    this.#setReady(false);
    this.#mirror.processEnded();
    for (const [sessionId, publish] of this.#publishes) {
      publish.end('lost');
      if (!this.#isClosing) void this.#reportLost(sessionId, publish);
    }
    this.#publishes.clear();
    if (this.#isClosing) return;
    this.#restarts.inc({ cause });
    if (cause === 'crashed') this.#ingestMetrics.uncaughtErrors.inc();
    if (ranMs >= STABLE_AFTER_MS) this.#pauseMs = RESTART_PAUSE_MIN_MS;
    this.#logger.error(
      { cause, ranMs: Math.round(ranMs), pauseMs: this.#pauseMs },
      'the ingest process ended',
    );
    this.#restartLater();
  }

  #restartLater(): void {
    this.#restartTimer = this.#deps.clock.after(this.#pauseMs, () => void this.#restart());
    this.#pauseMs = Math.min(this.#pauseMs * 2, RESTART_PAUSE_MAX_MS);
  }

  /** The child cannot say it any more; without this the keys would be blocked until the heartbeats are missed. */
  async #reportLost(sessionId: string, { grant }: RelayedPublish): Promise<void> {
    const { fencingToken, streamId } = grant;
    try {
      await this.#origin.end(streamId, { sessionId, fencingToken, reason: 'lost' });
      this.#ingestMetrics.endReports.inc({ result: 'ok' });
    } catch (error) {
      this.#ingestMetrics.endReports.inc({ result: 'failed' });
      const { code } = error as OriginCallError;
      this.#logger.warn({ sessionId, code }, 'the origin did not take the report of an end');
    }
  }

  async #restart(): Promise<void> {
    let child: IngestChild;
    try {
      child = await this.#spawn();
    } catch (error) {
      if (this.#isClosing) return;
      this.#logger.error({ err: error }, 'the ingest process could not be started');
      return this.#restartLater();
    }
    try {
      await child.ready;
      if (!this.#isClosing) this.#becameReady();
    } catch (error) {
      // The end of this child brings the next attempt.
      this.#logger.error({ err: error }, 'the ingest process did not start again');
      child.kill('exited');
    }
  }

  #becameReady(): void {
    this.#setReady(true);
    this.#logger.info({ rtmpPort: this.#rtmpPort }, 'broadcasters can connect');
  }

  #setReady(isReady: boolean): void {
    this.#isReady = isReady;
    this.#up.set(isReady ? 1 : 0);
  }
}

function toLogLevel(level: string): LogLevel {
  return LOG_LEVELS.find((known) => known === level) ?? 'info';
}
