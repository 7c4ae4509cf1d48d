import { randomUUID } from 'node:crypto';
import { Counter, Gauge } from 'prom-client';
import {
  BusError,
  checkBusChannel,
  encodeBusMessage,
  type Bus,
  type BusMessage,
  type BusSubscription,
} from '#runtime/bus/bus.ts';
import { connectRedis, type RedisClient, type RedisPlace } from '#runtime/bus/redis-client.ts';
import type { Clock, Timer } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';

export type RedisBusDeps = { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics };

/** How often a bus sends itself an echo; the shorter one while it is cut off. */
const ECHO_INTERVAL_MS = 500;
const ECHO_INTERVAL_CUT_OFF_MS = 100;
/** Without an echo for so long a bus counts as cut off. */
const ECHO_LOST_AFTER_MS = 2_000;
/**
 * Connections that have not carried an echo for so long are thrown away: a half-open one looks alive for ever, and on one
 * that lost an answer every later answer belongs to the command before it.
 */
const RECONNECT_AFTER_MS = 4_000;
/** Longest the start waits for Redis; without it the node starts alone. */
const OPEN_WAIT_MS = 3_000;
/** Messages under way to Redis; one more fails at once. */
export const PUBLISH_PENDING_MAX = 1_000;
/** All channels of this system begin with it, in a Redis that others may use too. */
const CHANNEL_PREFIX = 'livehls:';

type Listener = (message: BusMessage) => void;

/**
 * The bus over Redis publish/subscribe. Whether it works is not read off the sockets but tried: every half second the
 * bus publishes an echo to itself, which takes the same way as everything else, and must be both taken and heard.
 */
export class RedisBus implements Bus {
  readonly #place: RedisPlace;
  readonly #deps: RedisBusDeps;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #connectedListeners = new Set<(connected: boolean) => void>();
  readonly #echoChannel = `${CHANNEL_PREFIX}echo:${randomUUID()}`;
  readonly #metrics: ReturnType<typeof createBusMetrics>;
  #client: RedisClient;
  #clientSinceMs: number;
  #echoTakenMs = -Infinity;
  #echoHeardMs = -Infinity;
  #connected = false;
  #closed = false;
  #pending = 0;
  #timer: Timer | undefined;

  private constructor(place: RedisPlace, deps: RedisBusDeps) {
    this.#place = place;
    this.#deps = deps;
    this.#metrics = createBusMetrics(deps.metrics, () => this.#pending);
    this.#client = this.#connect();
    this.#clientSinceMs = deps.clock.monotonicMs();
    this.#tick();
  }

  /** Connects, waiting at most 3 s. A Redis that is away is no failure: the bus is then not connected yet. */
  static async open(place: RedisPlace, deps: RedisBusDeps): Promise<RedisBus> {
    const bus = new RedisBus(place, deps);
    if (!bus.connected) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = deps.clock.after(OPEN_WAIT_MS, resolve);
      const forget = bus.onConnectedChange(() => resolve());
      await promise;
      timer.cancel();
      forget();
    }
    return bus;
  }

  get connected(): boolean {
    return this.#connected;
  }

  async publish(channel: string, message: BusMessage): Promise<void> {
    const text = encodeBusMessage(channel, message);
    if (this.#closed) throw new BusError('bus_closed', 'this bus has been closed');
    if (this.#pending >= PUBLISH_PENDING_MAX) {
      this.#metrics.published.inc({ outcome: 'overflow' });
      throw new BusError('bus_unavailable', `${PUBLISH_PENDING_MAX} messages wait for Redis already`);
    }
    this.#pending++;
    try {
      await this.#client.publish(CHANNEL_PREFIX + channel, text);
      this.#metrics.published.inc({ outcome: 'ok' });
    } catch (error) {
      this.#metrics.published.inc({ outcome: 'failed' });
      throw new BusError('bus_unavailable', 'Redis does not take messages now', { cause: error });
    } finally {
      this.#pending--;
    }
  }

  async subscribe(channel: string, listener: Listener): Promise<BusSubscription> {
    checkBusChannel(channel);
    if (this.#closed) throw new BusError('bus_closed', 'this bus has been closed');
    const key = CHANNEL_PREFIX + channel;
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners);
    // One listener may be given twice; each subscription is its own.
    const own: Listener = (message) => listener(message);
    listeners.add(own);
    await this.#subscribeAll();
    return {
      close: async () => {
        if (!listeners.delete(own) || listeners.size > 0) return;
        this.#listeners.delete(key);
        await this.#client.unsubscribe(key).catch((error: unknown) => this.#failed('unsubscribe', error));
      },
    };
  }

  onConnectedChange(listener: (connected: boolean) => void): () => void {
    this.#connectedListeners.add(listener);
    return () => void this.#connectedListeners.delete(listener);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#connectedListeners.clear();
    this.#listeners.clear();
    this.#setConnected(false);
    this.#client.disconnect();
    return Promise.resolve();
  }

  #connect(): RedisClient {
    return connectRedis(this.#place, {
      onMessage: (channel, text) => this.#receive(channel, text),
      onError: (error) => this.#deps.logger.debug({ err: error }, 'redis connection'),
    });
  }

  #receive(channel: string, text: string): void {
    if (this.#closed) return;
    if (channel === this.#echoChannel) {
      this.#echoHeardMs = this.#deps.clock.monotonicMs();
      this.#setConnected(this.#isHealthy());
      return;
    }
    this.#metrics.received.inc();
    for (const listener of this.#listeners.get(channel) ?? []) {
      try {
        listener(JSON.parse(text) as BusMessage);
      } catch (error) {
        // A message of another version, or a listener's mistake, must not end the connection of all.
        this.#metrics.failures.inc({ what: 'listener' });
        this.#deps.logger.error({ err: error, channel }, 'a bus message could not be handled');
      }
    }
  }

  #isHealthy(): boolean {
    const sinceMs = this.#deps.clock.monotonicMs() - Math.min(this.#echoTakenMs, this.#echoHeardMs);
    return sinceMs < ECHO_LOST_AFTER_MS;
  }

  /** Echoes, and puts right what a reconnect may have lost; subscribing twice does no harm. */
  #tick(): void {
    if (this.#closed) return;
    if (!this.#isHealthy()) {
      this.#setConnected(false);
      this.#renewStaleClient();
      void this.#subscribeAll();
    }
    const client = this.#client;
    client.publish(this.#echoChannel, '1').then(
      () => {
        if (client === this.#client) this.#echoTakenMs = this.#deps.clock.monotonicMs();
      },
      (error: unknown) => this.#failed('echo', error),
    );
    const delayMs = this.#connected ? ECHO_INTERVAL_MS : ECHO_INTERVAL_CUT_OFF_MS;
    this.#timer = this.#deps.clock.after(delayMs, () => this.#tick());
  }

  #renewStaleClient(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const carriedMs = Math.min(this.#echoTakenMs, this.#echoHeardMs);
    if (nowMs - Math.max(carriedMs, this.#clientSinceMs) < RECONNECT_AFTER_MS) return;
    this.#client.disconnect();
    this.#client = this.#connect();
    this.#clientSinceMs = nowMs;
    this.#metrics.failures.inc({ what: 'connection' });
  }

  async #subscribeAll(): Promise<void> {
    try {
      await this.#client.subscribe([this.#echoChannel, ...this.#listeners.keys()]);
    } catch (error) {
      this.#failed('subscribe', error);
    }
  }

  /** Expected while Redis is away; the echo that does not come back says so to everybody. */
  #failed(what: string, error: unknown): void {
    if (this.#closed) return;
    this.#metrics.failures.inc({ what });
    this.#deps.logger.debug({ err: error, what }, 'redis command failed');
  }

  #setConnected(connected: boolean): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.#metrics.connected.set(connected ? 1 : 0);
    if (!this.#closed)
      this.#deps.logger[connected ? 'info' : 'warn'](connected ? 'the bus works' : 'the bus is cut off');
    for (const listener of this.#connectedListeners) listener(connected);
  }
}

function createBusMetrics(registry: Metrics, pending: () => number) {
  const registers = [registry];
  new Gauge({
    name: 'bus_publish_pending',
    help: 'Messages on their way to Redis.',
    registers,
    collect() {
      this.set(pending());
    },
  });
  return {
    connected: new Gauge({
      name: 'bus_connected',
      help: 'Whether the bus gets its own echo back.',
      registers,
    }),
    published: new Counter({
      name: 'bus_messages_published_total',
      help: 'Messages given to Redis, by outcome: ok, failed, overflow.',
      labelNames: ['outcome'],
      registers,
    }),
    received: new Counter({
      name: 'bus_messages_received_total',
      help: 'Messages that came from Redis, echoes not counted.',
      registers,
    }),
    failures: new Counter({
      name: 'bus_failures_total',
      help: 'Echoes, subscriptions, connections and listeners that failed.',
      labelNames: ['what'],
      registers,
    }),
  };
}
