import { z } from 'zod';
import { LOG_LEVELS } from '#runtime/log.ts';
import {
  bearerToken,
  choice,
  flag,
  integer,
  port,
  readSettings,
  text,
  type SettingsOf,
  type SettingsProblem,
} from '#runtime/config/settings.ts';
import { NO_ACCESS_KEYS } from '#protocol/access/access-keys.ts';
import { AccessKeys } from '#runtime/access-keys-file.ts';
import { areAllowedTargets } from '#runtime/outbound/target-guard.ts';
import { DEFAULT_LIVE_SETTINGS } from '#origin/live/live-settings.ts';
import { DEFAULT_RECORDING_SETTINGS } from '#origin/recording/recording-settings.ts';

const MIB = 1024 * 1024;

/** `http(s)://host[:port]` without a path; '' means none. */
const baseUrl = z
  .string()
  .refine(
    (value) => value === '' || /^https?:\/\/[^/?#\s;]+\/?$/.test(value),
    'expected http://host or https://host',
  )
  .transform((value) => value.replace(/\/$/, ''));

/** Comma-separated `http(s)://host[:port]`. */
const baseUrls = z
  .string()
  .transform((value) => value.split(',').flatMap((url) => url.trim().replace(/\/$/, '') || []))
  .refine(
    (urls) => urls.every((url) => /^https?:\/\/[^/?#\s;]+$/.test(url)),
    'expected http://host or https://host, several of them separated by commas',
  );

/** Comma-separated `rtmp(s)://host[:port]/app`. */
const rtmpUrls = z
  .string()
  .transform((value) => value.split(',').flatMap((url) => url.trim().replace(/\/$/, '') || []))
  .refine(
    (urls) => urls.every((url) => /^rtmps?:\/\/[^/?#\s]+\/[\w.-]+$/.test(url)),
    'expected rtmp://host:port/app, several of them separated by commas',
  );

const redisUrl = z
  .string()
  .refine(
    (value) => value === '' || /^rediss?(\+cluster)?:\/\/\S+$/.test(value),
    'expected redis://host:port or redis+cluster://host:port,host:port',
  );

const databaseUrl = z
  .string()
  .refine((value) => value === '' || /^postgres(ql)?:\/\/\S+$/.test(value), 'expected postgres://…');

const allowedTargets = z
  .string()
  .transform((value) => value.split(',').flatMap((entry) => entry.trim() || []))
  .refine(areAllowedTargets, 'expected host, host:port, address or network, separated by commas');

/** Everything that can be set about an origin, by environment variable. */
export const ORIGIN_SETTINGS = {
  ADMIN_TOKEN: {
    parse: bearerToken(8, 256),
    description: 'Bearer token of the stream API, 8 to 256 characters.',
    secret: true,
  },
  INGEST_TOKEN: {
    parse: bearerToken(8, 256),
    description: 'Bearer token with which transcoders authorise publishers and upload parts.',
    secret: true,
  },
  ORIGIN_PORT: { parse: port, default: 8080, description: 'Port of playback and API; 0 takes any free one.' },
  ORIGIN_HOST: { parse: text(1, 255), default: '0.0.0.0', description: 'Address to listen on.' },
  ORIGIN_TLS_CERT_FILE: {
    parse: text(0, 4096),
    default: '',
    description: 'PEM certificate chain; with it the origin speaks HTTPS, and HTTP/2 beside HTTP/1.1.',
  },
  ORIGIN_TLS_KEY_FILE: { parse: text(0, 4096), default: '', description: 'PEM key of the certificate.' },
  ORIGIN_PUBLIC_URL: {
    parse: baseUrl,
    default: '',
    description: 'Scheme and host of the playback URLs in API answers; without it those of the request.',
  },
  ORIGIN_NODE_URL: {
    parse: baseUrl,
    default: '',
    description:
      'How other origins and the transcoders reach this one, such as http://10.0.0.1:8080; with it several origins share the streams.',
  },
  REDIS_URL: {
    parse: redisUrl,
    default: '',
    description:
      'redis[s]://… or redis[s]+cluster://host:port,host:port, by which the nodes hear of one another; needed for more than one.',
    secret: true,
  },
  ORIGIN_RELAY_CACHE_MIB: {
    parse: integer(1, 100_000),
    default: 128,
    description: 'Memory for what was pulled from the origins that hold a stream, MiB.',
  },
  RTMP_PORT: { parse: port, default: 1935, description: 'Port at which broadcasters connect.' },
  RTMP_PUBLIC_URL: {
    parse: rtmpUrls,
    default: [] as readonly string[],
    description:
      'RTMP URLs in API answers, primary first, separated by commas; without it rtmp://{host of the request}:{RTMP_PORT}/app.',
  },
  DATA_DIR: {
    parse: text(1, 4096),
    default: './data',
    description: 'Folder of everything that is kept: the embedded database, the pepper of the stream keys.',
  },
  DATABASE_URL: {
    parse: databaseUrl,
    default: '',
    description: 'PostgreSQL server; without it one is started as a child, with its data in DATA_DIR.',
    secret: true,
  },
  ORIGIN_DATABASE_CONNECTIONS: {
    parse: integer(1, 100),
    default: 8,
    description: 'Connections to PostgreSQL at most.',
  },
  ORIGIN_KEY_PEPPER: {
    parse: z.union([z.literal(''), text(32, 256)], 'expected 32 to 256 characters'),
    default: '',
    description:
      'Secret under which stream keys are hashed, the same on every origin; without it one is made in DATA_DIR.',
    secret: true,
  },
  ACCESS_TOKEN_KEYS: {
    parse: AccessKeys,
    default: NO_ACCESS_KEYS,
    description:
      'Keys of the playback tokens, `id:secret` with 32 bytes or more in base64url, the same on every origin, edge and CDN; up to four while they are being replaced, the first signs. Without it a key is made in DATA_DIR.',
    secret: true,
  },
  ORIGIN_PULL_TOKEN: {
    parse: z.union([z.literal(''), bearerToken(16, 256)], 'expected 16 to 256 characters without blanks'),
    default: '',
    description:
      'Bearer token with which CDNs and edges, which see to the playback tokens themselves, fetch protected streams; without it they pass each viewer’s token on.',
    secret: true,
  },
  ORIGIN_STREAMS_MAX: {
    parse: integer(1, 100_000),
    default: 10_000,
    description: 'Streams that each tenant may have whose own limit says nothing else.',
  },
  ORIGIN_API_REQUESTS_PER_SECOND: {
    parse: integer(1, 10_000),
    default: 20,
    description: 'Requests that each key of the API may make in a second; five times as many at once.',
  },
  ORIGIN_AUTH_FAILURES_PER_MINUTE: {
    parse: integer(1, 100_000),
    default: 60,
    description: 'Unknown stream keys that one broadcaster address may present in a minute.',
  },
  ORIGIN_WEBHOOK_ALLOWED_TARGETS: {
    parse: allowedTargets,
    default: [] as readonly string[],
    description:
      'Webhooks that may be inside or without https: host, host:port, address or network, separated by commas.',
  },
  ORIGIN_CONNECTIONS_MAX: {
    parse: integer(1, 1_000_000),
    default: 19_000,
    description: 'Connections in all; one more is closed at once.',
  },
  ORIGIN_DRAIN_S: {
    parse: integer(0, 7),
    default: 6,
    description:
      'Seconds in which an origin that is stopped answers the requests that it holds, while parts still come; 0 answers them 503 at once.',
  },
  ORIGIN_WORKERS: {
    parse: integer(0, 256),
    default: 0,
    description:
      'Processes that serve playback beside the one that takes the uploads, for machines with several cores; 0 is none.',
  },
  ORIGIN_ADDRESS_CONNECTIONS_MAX: {
    parse: integer(1, 1_000_000),
    default: 16_000,
    description: 'Connections of one client address; one more is closed at once. A CDN may have one address.',
  },
  ORIGIN_OVERLOAD_DELAY_MS: {
    parse: integer(10, 60_000),
    default: 250,
    description:
      'Delay of the event loop, ms, from which the API is answered 503; rewinding at twice, the live edge at six times as much.',
  },
  ORIGIN_PLAYER: { parse: flag, default: true, description: 'Whether / serves the player page.' },
  ORIGIN_PLAYER_MEDIA_ORIGINS: {
    parse: baseUrls,
    default: [] as readonly string[],
    description:
      'Other hosts that the player page may load media from (CDNs, steering): https://host, separated by commas.',
  },
  LIVE_WINDOW_S: {
    parse: integer(6, 3_600),
    default: 60,
    description: 'Seconds of media that a live playlist lists; never less than three target durations.',
  },
  LIVE_STREAMS_MAX: {
    parse: integer(1, 10_000),
    default: DEFAULT_LIVE_SETTINGS.streamsMax,
    description: 'Streams that may be live at once.',
  },
  LIVE_WAITERS_MAX: {
    parse: integer(1, 1_000_000),
    default: DEFAULT_LIVE_SETTINGS.waitersMax,
    description: 'Held requests (blocking reloads and preload hints) of all streams together.',
  },
  LIVE_STREAM_WAITERS_MAX: {
    parse: integer(1, 1_000_000),
    default: DEFAULT_LIVE_SETTINGS.streamWaitersMax,
    description: 'Held requests of one stream.',
  },
  LIVE_ADDRESS_WAITERS_MAX: {
    parse: integer(1, 1_000_000),
    default: DEFAULT_LIVE_SETTINGS.addressWaitersMax,
    description: 'Held requests of one client address. A CDN may have one address.',
  },
  LIVE_MEMORY_MIB: {
    parse: integer(16, 1_000_000),
    default: DEFAULT_LIVE_SETTINGS.totalBytesMax / MIB,
    description: 'Memory for the media of all streams together, MiB.',
  },
  LIVE_STREAM_MEMORY_MIB: {
    parse: integer(8, 1_000_000),
    default: DEFAULT_LIVE_SETTINGS.streamBytesMax / MIB,
    description: 'Memory for the media of one stream, MiB.',
  },
  LIVE_ENDED_RETENTION_S: {
    parse: integer(0, 86_400),
    default: DEFAULT_LIVE_SETTINGS.endedRetentionMs / 1_000,
    description: 'Seconds that the playlist of an ended stream stays served.',
  },
  RECORDING_QUEUE_MIB: {
    parse: integer(1, 1_000_000),
    default: DEFAULT_RECORDING_SETTINGS.queueBytesMax / MIB,
    description: 'Memory for finished segments that wait for the object store, MiB; more wait on disk.',
  },
  RECORDING_SPOOL_MIB: {
    parse: integer(0, 100_000_000),
    default: DEFAULT_RECORDING_SETTINGS.spoolBytesMax / MIB,
    description: 'Disk for segments that wait for the object store, in DATA_DIR/spool, MiB.',
  },
  RECORDING_QUEUE_AGE_S: {
    parse: integer(1, 604_800),
    default: DEFAULT_RECORDING_SETTINGS.queueAgeMaxMs / 1_000,
    description: 'Seconds that a segment waits for the object store before it is given up.',
  },
  RECORDING_CACHE_MIB: {
    parse: integer(1, 1_000_000),
    default: DEFAULT_RECORDING_SETTINGS.cacheBytesMax / MIB,
    description: 'Memory for recorded segments that were read from the object store, MiB.',
  },
  OBJECT_STORE: {
    parse: text(0, 4096),
    default: '',
    description: 'Folder of recordings, where S3_BUCKET is not set; without it DATA_DIR/objects.',
  },
  S3_BUCKET: {
    parse: z.string().regex(/^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$/, 'expected the name of a bucket'),
    default: '',
    description: 'Bucket of recordings, which exists already; without it they go to a folder.',
  },
  S3_ENDPOINT: {
    parse: z
      .string()
      .regex(/^(https?:\/\/[^?#\s]+)?$/, 'expected http://host or https://host, with or without a path'),
    default: '',
    description: 'S3-compatible server, addressed path style; without it AWS in S3_REGION.',
  },
  S3_REGION: {
    parse: z.string().regex(/^[a-z0-9-]{1,64}$/, 'expected a region'),
    default: 'us-east-1',
    description: 'Region of the bucket.',
  },
  S3_ACCESS_KEY_ID: {
    parse: text(0, 256),
    default: '',
    description: 'Access key; without it that of the machine or of the AWS_* variables.',
  },
  S3_SECRET_ACCESS_KEY: {
    parse: text(0, 256),
    default: '',
    description: 'Secret of the access key.',
    secret: true,
  },
  LOG_LEVEL: { parse: choice(LOG_LEVELS), default: 'info', description: 'Least level that is logged.' },
} as const;

/** The settings of an origin, checked. */
export type OriginSettings = SettingsOf<typeof ORIGIN_SETTINGS>;

/**
 * Reads an origin's settings from the environment.
 *
 * @param known names of sibling services that may stand in the same environment
 * @throws {SettingsError} with everything that is wrong, contradictions included
 */
export function readOriginSettings(
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[] = [],
): OriginSettings {
  return readSettings(ORIGIN_SETTINGS, env, known, findContradictions);
}

function findContradictions(env: Readonly<Record<string, string | undefined>>): SettingsProblem[] {
  const problems: SettingsProblem[] = [];
  const pairs = [
    ['ORIGIN_TLS_CERT_FILE', 'ORIGIN_TLS_KEY_FILE'],
    ['ORIGIN_TLS_KEY_FILE', 'ORIGIN_TLS_CERT_FILE'],
    ['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'],
    ['S3_SECRET_ACCESS_KEY', 'S3_ACCESS_KEY_ID'],
    ['S3_ENDPOINT', 'S3_BUCKET'],
  ] as const;
  for (const [given, other] of pairs)
    if ((env[given] ?? '') !== '' && (env[other] ?? '') === '')
      problems.push({ name: other, message: `is needed together with ${given}` });
  if ((env['ORIGIN_NODE_URL'] ?? '') !== '')
    for (const name of ['REDIS_URL', 'DATABASE_URL', 'ORIGIN_KEY_PEPPER', 'ACCESS_TOKEN_KEYS'])
      if ((env[name] ?? '') === '')
        problems.push({
          name,
          message: 'is needed together with ORIGIN_NODE_URL: all origins must share it',
        });
  if (env['ADMIN_TOKEN'] !== undefined && env['ADMIN_TOKEN'] === env['INGEST_TOKEN'])
    problems.push({
      name: 'INGEST_TOKEN',
      message: 'must not be the ADMIN_TOKEN: transcoders need no right to change streams',
    });
  if (
    Number(env['ORIGIN_WORKERS'] ?? 0) > 0 &&
    (env['ORIGIN_TLS_CERT_FILE'] ?? '') !== '' &&
    (env['ORIGIN_PUBLIC_URL'] ?? '') === ''
  )
    problems.push({
      name: 'ORIGIN_PUBLIC_URL',
      message:
        'is needed with ORIGIN_WORKERS and a certificate: only the workers see that a request came by HTTPS',
    });
  for (const [one, all] of [
    ['LIVE_STREAM_MEMORY_MIB', 'LIVE_MEMORY_MIB'],
    ['LIVE_STREAM_WAITERS_MAX', 'LIVE_WAITERS_MAX'],
  ] as const)
    if (env[one] !== undefined && env[all] !== undefined && Number(env[one]) > Number(env[all]))
      problems.push({ name: one, message: `is more than ${all}, which is for all streams together` });
  return problems;
}
