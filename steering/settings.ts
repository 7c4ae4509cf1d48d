import { z } from 'zod';
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
import { LOG_LEVELS } from '#runtime/log.ts';
import { TokenKeys, type TokenKey } from '#steering/answers/token-keys.ts';
import { HEALTH_SETTINGS } from '#steering/health/health-settings.ts';
import { COST_POLICIES } from '#steering/picture/cost-policy.ts';

/** `http(s)://host[:port][/path]`; '' means none. */
const publicUrl = z
  .string()
  .transform((value) => value.replace(/\/+$/, ''))
  .refine(
    (value) => value === '' || /^https?:\/\/[A-Za-z0-9.:[\]-]+(?:\/[A-Za-z0-9._/-]*)?$/.test(value),
    'expected https://host, with a path of letters, digits and . _ - at most',
  );

/** Comma-separated `http(s)://host[:port]`. */
const baseUrls = z
  .string()
  .transform((value) => value.split(',').flatMap((url) => url.trim().replace(/\/$/, '') || []))
  .refine(
    (urls) => urls.every((url) => /^https?:\/\/[^/?#\s]+$/.test(url)),
    'expected http://host:port, several of them separated by commas',
  );

const databaseUrl = z
  .string()
  .refine((value) => value === '' || /^postgres(ql)?:\/\/\S+$/.test(value), 'expected postgres://…');

const redisUrl = z
  .string()
  .refine(
    (value) => value === '' || /^rediss?(\+cluster)?:\/\/\S+$/.test(value),
    'expected redis://host:port or redis+cluster://host:port,host:port',
  );

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{0,64}$/, 'expected the name of a header')
  .transform((name) => name.toLowerCase());

const noKeys: readonly TokenKey[] = [];

/** Everything that can be set about a steering server, by environment variable. */
export const STEERING_SETTINGS = {
  ADMIN_TOKEN: {
    parse: z.union([z.literal(''), bearerToken(8, 256)], 'expected 8 to 256 characters without blanks'),
    default: '',
    description:
      'Bearer token of the ops API with the role admin; without it only tokens made through the API are valid.',
    secret: true,
  },
  STEERING_PORT: {
    parse: port,
    default: 8090,
    description: 'Port of the steering answers and the ops API; 0 takes any free one.',
  },
  STEERING_HOST: { parse: text(1, 255), default: '0.0.0.0', description: 'Address to listen on.' },
  STEERING_PUBLIC_URL: {
    parse: publicUrl,
    default: '',
    description: 'URL under which players reach this server, for RELOAD-URI; without it that of the request.',
  },
  STEERING_TLS_CERT_FILE: {
    parse: text(0, 4096),
    default: '',
    description: 'PEM certificate chain; with it the server speaks HTTPS, and HTTP/2 beside HTTP/1.1.',
  },
  STEERING_TLS_KEY_FILE: { parse: text(0, 4096), default: '', description: 'PEM key of the certificate.' },
  STEERING_CONNECTIONS_MAX: {
    parse: integer(1, 1_000_000),
    default: 19_000,
    description: 'Connections in all; one more is closed at once.',
  },
  STEERING_KEEP_ALIVE_S: {
    parse: integer(1, 600),
    default: 5,
    description:
      'How long a connection may stay idle, seconds. Players ask too seldom to use one twice; behind a proxy set more than the proxy keeps its own.',
  },
  STEERING_TOKEN_KEYS: {
    parse: TokenKeys,
    default: noKeys,
    description:
      'Keys of the session tokens, `id:secret` with 32 bytes or more in base64url, the same on every node; two while they are being replaced, the first signs. Without it a key is made in DATA_DIR.',
    secret: true,
  },
  ACCESS_TOKEN_KEYS: {
    parse: AccessKeys,
    default: NO_ACCESS_KEYS,
    description:
      'The origin’s keys of the playback tokens: with them the probes get into protected streams as viewers do.',
    secret: true,
  },
  STEERING_TTL_S: {
    parse: integer(5, 1_800),
    default: 25,
    description: 'Mean time after which a player asks again, ±30 %, seconds.',
  },
  STEERING_TTL_EVENT_S: {
    parse: integer(5, 1_800),
    default: 7,
    description: 'The same while something is wrong or being changed, seconds.',
  },
  STEERING_EVENT_AFTER_CHANGE_S: {
    parse: integer(0, 3_600),
    default: 60,
    description: 'How long after a change by ops players are asked to come back soon, seconds.',
  },
  STEERING_EVENT_TROUBLE_MAX_S: {
    parse: integer(10, 86_400),
    default: 600,
    description:
      'How long after the last change of any CDN’s state they are, while something is wrong, seconds.',
  },
  STEERING_COUNTRY_HEADER: {
    parse: headerName,
    default: '',
    description: 'Request header with the country of the viewer, set or removed by a proxy in front.',
  },
  STEERING_ASN_HEADER: {
    parse: headerName,
    default: '',
    description: 'Request header with the autonomous system number of the viewer, likewise.',
  },
  STEERING_TRUST_FORWARDED: {
    parse: flag,
    default: false,
    description: 'Whether X-Forwarded-Proto and the last entry of X-Forwarded-For are a proxy’s of ours.',
  },
  STEERING_VIEWER_BITRATE_BPS: {
    parse: integer(10_000, 1_000_000_000),
    default: 4_000_000,
    description: 'Traffic that one viewer is reckoned with, bits per second.',
  },
  STEERING_VIEWERS_PER_ADDRESS_MAX: {
    parse: integer(1, 1_000_000_000),
    default: 1_000,
    description:
      'Viewers that one address (IPv4, or IPv6 /56) may count for, so that nobody makes up an audience. Behind a proxy set STEERING_TRUST_FORWARDED, or all viewers are one address.',
  },
  STEERING_COST_POLICY: {
    parse: choice(COST_POLICIES),
    default: 'off' as const,
    description: '`tiebreak`: of CDNs with equal weight the cheaper get more. `off`: cost plays no part.',
  },
  STEERING_ORIGIN_URLS: {
    parse: baseUrls,
    default: ['http://127.0.0.1:8080'] as readonly string[],
    description: 'Origins that say which streams are live and that the CDNs are measured against.',
  },
  STEERING_CMCD_LOG_TOKEN: {
    parse: z.union([z.literal(''), bearerToken(8, 256)], 'expected 8 to 256 characters without blanks'),
    default: '',
    description:
      'Bearer token with which CDNs deliver their request logs to /cmcd; without it logs are refused.',
    secret: true,
  },
  ...HEALTH_SETTINGS,
  DATA_DIR: {
    parse: text(1, 4096),
    default: './data',
    description: 'Folder of what is kept: the last known state, a token key, the embedded database.',
  },
  DATABASE_URL: {
    parse: databaseUrl,
    default: '',
    description: 'PostgreSQL server; without it one is started as a child, with its data in DATA_DIR.',
    secret: true,
  },
  STEERING_DATABASE_CONNECTIONS: {
    parse: integer(1, 100),
    default: 4,
    description: 'Connections to PostgreSQL at most.',
  },
  REDIS_URL: {
    parse: redisUrl,
    default: '',
    description:
      'redis[s]://… or redis[s]+cluster://host:port,host:port, by which the nodes hear of one another; needed for more than one.',
    secret: true,
  },
  LOG_LEVEL: { parse: choice(LOG_LEVELS), default: 'info', description: 'Least level that is logged.' },
} as const;

/** The settings of a steering server, checked. */
export type SteeringSettings = SettingsOf<typeof STEERING_SETTINGS>;

/**
 * Reads a steering server's settings from the environment.
 *
 * @param known names of sibling services that may stand in the same environment
 * @throws {SettingsError} with everything that is wrong, contradictions included
 */
export function readSteeringSettings(
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[] = [],
): SteeringSettings {
  return readSettings(STEERING_SETTINGS, env, known, findContradictions);
}

function findContradictions(env: Readonly<Record<string, string | undefined>>): SettingsProblem[] {
  const problems: SettingsProblem[] = [];
  const given = (name: string): boolean => (env[name] ?? '') !== '';
  for (const [one, other] of [
    ['STEERING_TLS_CERT_FILE', 'STEERING_TLS_KEY_FILE'],
    ['STEERING_TLS_KEY_FILE', 'STEERING_TLS_CERT_FILE'],
  ] as const)
    if (given(one) && !given(other))
      problems.push({ name: other, message: `is needed together with ${one}` });
  if (given('REDIS_URL') && !given('STEERING_TOKEN_KEYS'))
    problems.push({
      name: 'STEERING_TOKEN_KEYS',
      message:
        'is needed together with REDIS_URL: nodes with different keys take one another’s viewers for strangers',
    });
  if (Number(env['STEERING_TTL_EVENT_S'] ?? 7) > Number(env['STEERING_TTL_S'] ?? 25))
    problems.push({ name: 'STEERING_TTL_EVENT_S', message: 'is more than STEERING_TTL_S' });
  return problems;
}
