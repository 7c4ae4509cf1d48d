import { Cluster, Redis } from 'ioredis';
import { hash64 } from '#protocol/placement/hash64.ts';

/** Longest a command may go unanswered before it counts as failed, in ms. */
const COMMAND_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;
const RETRY_DELAY_MIN_MS = 50;
const RETRY_DELAY_MAX_MS = 1_000;

/** Where the Redis of a {@link RedisBus} is: one server, or some nodes of a cluster. */
export type RedisPlace =
  | { readonly kind: 'single'; readonly url: string }
  | {
      readonly kind: 'cluster';
      readonly nodes: readonly { readonly host: string; readonly port: number }[];
      readonly username: string | undefined;
      readonly password: string | undefined;
      readonly tls: boolean;
    };

/** A URL that names no Redis. */
export class RedisUrlError extends Error {
  override readonly name = 'RedisUrlError';
  readonly code = 'redis_url_invalid';
}

/**
 * Reads `redis[s]://[user:password@]host[:port][/db]` for one server, or
 * `redis[s]+cluster://[user:password@]host[:port],host[:port]…` for a cluster.
 *
 * @throws {RedisUrlError} without repeating the URL, which may hold a password
 */
export function parseRedisUrl(url: string): RedisPlace {
  const match = /^(rediss?)(\+cluster)?:\/\/(?:([^@/]*)@)?([^@/]+)(\/.*)?$/.exec(url);
  if (match === null)
    throw new RedisUrlError('expected redis://host:port or redis+cluster://host:port,host:port');
  const [, scheme, cluster, credentials = '', hosts = ''] = match;
  if (cluster === undefined) {
    if (!URL.canParse(url)) throw new RedisUrlError('expected redis://host:port');
    return { kind: 'single', url };
  }
  const nodes = hosts.split(',').map((entry) => {
    const node = URL.canParse(`redis://${entry}`) ? new URL(`redis://${entry}`) : undefined;
    if (node === undefined || node.hostname === '')
      throw new RedisUrlError('expected host:port,host:port after redis+cluster://');
    return { host: node.hostname, port: node.port === '' ? 6379 : Number(node.port) };
  });
  const [username = '', password = ''] = credentials.split(':', 2).map(decodeURIComponent);
  return {
    kind: 'cluster',
    nodes,
    username: username === '' ? undefined : username,
    password: password === '' ? undefined : password,
    tls: scheme === 'rediss',
  };
}

/**
 * The few things a bus asks of Redis, for one server and a cluster alike. Every command fails within
 * {@link COMMAND_TIMEOUT_MS}; nothing is kept to be sent later. Connections are taken up again by themselves.
 */
export type RedisClient = {
  publish(channel: string, text: string): Promise<unknown>;
  subscribe(channels: readonly string[]): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  /** Drops the connections at once. */
  disconnect(): void;
};

export type RedisClientEvents = {
  readonly onMessage: (channel: string, text: string) => void;
  /** Connection errors, for the log; they need no other answer. */
  readonly onError: (error: Error) => void;
};

/** Starts connecting; never throws for a server that is away. */
export function connectRedis(place: RedisPlace, events: RedisClientEvents): RedisClient {
  return place.kind === 'single' ? connectSingle(place, events) : connectCluster(place, events);
}

const retryDelayMs = (attempt: number): number =>
  Math.min(RETRY_DELAY_MAX_MS, RETRY_DELAY_MIN_MS * 2 ** Math.min(attempt, 10));

const commandOptions = {
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: CONNECT_TIMEOUT_MS,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
} as const;

function connectSingle(place: { url: string }, { onMessage, onError }: RedisClientEvents): RedisClient {
  const options = { ...commandOptions, enableOfflineQueue: false, retryStrategy: retryDelayMs };
  const publisher = new Redis(place.url, options);
  const subscriber = new Redis(place.url, options);
  publisher.on('error', onError);
  subscriber.on('error', onError);
  subscriber.on('message', onMessage);
  return {
    publish: (channel, text) => publisher.publish(channel, text),
    subscribe: (channels) => subscriber.subscribe(...channels),
    unsubscribe: (channel) => subscriber.unsubscribe(channel),
    disconnect: () => {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}

function connectCluster(
  place: Extract<RedisPlace, { kind: 'cluster' }>,
  { onMessage, onError }: RedisClientEvents,
): RedisClient {
  const credentials = {
    ...(place.username === undefined ? {} : { username: place.username }),
    ...(place.password === undefined ? {} : { password: place.password }),
    ...(place.tls ? { tls: {} } : {}),
  };
  const cluster = new Cluster([...place.nodes], {
    enableOfflineQueue: false,
    clusterRetryStrategy: retryDelayMs,
    // A command that hits a failover is the caller's to repeat, not the queue's.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    maxRedirections: 3,
    slotsRefreshTimeout: CONNECT_TIMEOUT_MS,
    slotsRefreshInterval: 5_000,
    redisOptions: { ...commandOptions, ...credentials },
  });
  cluster.on('error', onError);
  cluster.on('message', onMessage);
  // Every node hears what is published on any other. Left to itself the client takes one at random for each message,
  // and messages overtake each other; a channel therefore has its own node.
  const nodeOf = (channel: string): Redis | undefined => {
    const nodes = cluster.nodes('master');
    const keys = nodes.map((node) => `${node.options.host}:${node.options.port}`).toSorted();
    const key = keys[hash64(channel).low % keys.length];
    return nodes.find((node) => `${node.options.host}:${node.options.port}` === key);
  };
  return {
    publish: (channel, text) => (nodeOf(channel) ?? cluster).publish(channel, text),
    subscribe: (channels) => cluster.subscribe(...channels),
    unsubscribe: (channel) => cluster.unsubscribe(channel),
    disconnect: () => cluster.disconnect(),
  };
}
