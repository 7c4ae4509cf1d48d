import { z } from 'zod';
import { NO_ACCESS_KEYS, parseAccessKeys } from '#protocol/access/access-keys.ts';
import { parseSessionTokenKeys } from '#protocol/steering/session-token-keys.ts';
import { PathwayId } from '#protocol/steering/pathway-id.ts';
import { EMPTY_SNAPSHOT, type SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, `expected a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `expected a whole number from ${min} to ${max}`);

/** Comma-separated `http(s)://host[:port]`. */
const urls: z.ZodType<readonly string[], string> = z
  .string()
  .transform((value) => value.split(',').flatMap((url) => url.trim().replace(/\/$/, '') || []))
  .refine(
    (list) => list.length > 0 && list.every((url) => /^https?:\/\/[A-Za-z0-9.:[\]-]+$/.test(url)),
    'expected http://host:port, several of them separated by commas',
  );

const publicUrl = z
  .string()
  .transform((value) => value.replace(/\/+$/, ''))
  .refine(
    (value) => value === '' || /^https?:\/\/[A-Za-z0-9.:[\]-]+(?:\/[A-Za-z0-9._/-]*)?$/.test(value),
    'expected https://host, with a path of letters, digits and . _ - at most',
  );

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{0,64}$/, 'expected the name of a header')
  .transform((name) => name.toLowerCase());

/** A CDN that is used while nothing else is known. */
export type DefaultCdn = { readonly name: string; readonly baseUrl: string; readonly weight: number };

const defaultCdns = z.string().transform((text, context): readonly DefaultCdn[] => {
  const entries = text.split(',').flatMap((entry) => entry.trim() || []);
  const cdns = entries.flatMap((entry) => {
    const match = /^([^=]+)=(https?:\/\/[^\s"<>*]+?)\/?(?:\*(\d{1,6}))?$/.exec(entry);
    const name = PathwayId.safeParse(match?.[1]);
    return match === null || !name.success
      ? []
      : [{ name: name.data, baseUrl: match[2] ?? '', weight: Number(match[3] ?? 1) }];
  });
  if (cdns.length === entries.length && new Set(cdns.map(({ name }) => name)).size === cdns.length)
    return cdns;
  context.addIssue('expected name=https://host*weight, several of them separated by commas');
  return z.NEVER;
});

const tokenKeys = z.string().transform((text, context) => {
  const keys = parseSessionTokenKeys(text);
  if (keys !== undefined) return keys;
  context.addIssue('expected one or two keys id:secret as steering has them');
  return z.NEVER;
});

const NO_CDNS: readonly DefaultCdn[] = [];
const accessKeys = z.string().transform((text, context) => {
  const keys = text === '' ? NO_ACCESS_KEYS : parseAccessKeys(text);
  if (keys !== undefined) return keys;
  context.addIssue('expected up to 4 keys id:secret as the origins have them');
  return z.NEVER;
});

const NO_KEYS: NonNullable<ReturnType<typeof parseSessionTokenKeys>> = [];

/**
 * Everything that can be set about the edge, by environment variable or binding. Names that steering has too mean the same
 * there, so that both can be given the same environment.
 */
export const EDGE_SETTINGS = {
  ORIGIN_URLS: {
    parse: urls,
    default: ['http://127.0.0.1:8080'] as readonly string[],
    description: 'Origins that hold the streams.',
  },
  EDGE_STEERING_URLS: {
    parse: urls,
    default: ['http://127.0.0.1:8090'] as readonly string[],
    description: 'Steering servers that the edge learns the CDNs from; the next one is asked when one fails.',
  },
  STEERING_PUBLIC_URL: {
    parse: publicUrl,
    default: '',
    description:
      'URL under which players reach steering, for SERVER-URI; without it the first of EDGE_STEERING_URLS.',
  },
  STEERING_TOKEN_KEYS: {
    parse: tokenKeys,
    default: NO_KEYS,
    description:
      'Keys of the session tokens, the same as those of steering; without them SERVER-URI names no session, and players may be moved by their first steering answer.',
    secret: true,
  },
  ACCESS_TOKEN_KEYS: {
    parse: accessKeys,
    default: NO_ACCESS_KEYS,
    description: 'The origin’s keys of the playback tokens; without them nobody gets protected streams here.',
    secret: true,
  },
  ORIGIN_PULL_TOKEN: {
    parse: z.union([z.literal(''), z.string().min(16).max(256)], 'expected 16 to 256 characters'),
    default: '',
    description: 'Bearer token with which the edge fetches protected streams from the origins.',
    secret: true,
  },
  STEERING_TTL_S: {
    parse: whole(5, 1_800),
    default: 25,
    description:
      'TTL of steering’s answers, seconds: a session that has not asked for two of them does not steer.',
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
  EDGE_DEFAULT_CDNS: {
    parse: defaultCdns,
    default: NO_CDNS,
    description:
      'CDNs to use until steering has answered once: `name=https://host*weight`, separated by commas. Without any, the edge serves all by itself.',
  },
  EDGE_MEMORY_MIB: {
    parse: whole(1, 4_096),
    default: 48,
    description: 'Memory for answers of origins, MiB. A Worker has 128 MiB in all.',
  },
  EDGE_FIRST_BYTE_MARGIN_MS: {
    parse: whole(100, 10_000),
    default: 1_000,
    description:
      'How long an origin may be silent after a part is due before the next one is asked, and in the end 404 answered, ms.',
  },
} as const;

/** The settings of an edge, checked. */
export type EdgeSettings = {
  readonly [Name in keyof typeof EDGE_SETTINGS]: z.output<(typeof EDGE_SETTINGS)[Name]['parse']>;
};

/** The bindings do not describe an edge that can work. Says everything that is wrong at once. */
export class EdgeSettingsError extends Error {
  readonly code = 'settings_invalid';
  override readonly name = 'EdgeSettingsError';
}

/**
 * Reads the settings from the bindings of a Worker; those that are no text (other kinds of bindings) are left alone.
 *
 * @throws {EdgeSettingsError}
 */
export function readEdgeSettings(env: Readonly<Record<string, unknown>>): EdgeSettings {
  const problems: string[] = [];
  const values = Object.entries(EDGE_SETTINGS).map(([name, setting]) => {
    const raw = env[name];
    if (typeof raw !== 'string') return [name, setting.default];
    const parsed = setting.parse.safeParse(raw);
    if (!parsed.success) problems.push(`${name}: ${parsed.error.issues[0]?.message ?? 'is not valid'}`);
    return [name, parsed.data];
  });
  if (problems.length > 0) throw new EdgeSettingsError(problems.join('\n'));
  return Object.fromEntries(values) as EdgeSettings;
}

/** What is believed before steering has said anything: the CDNs of the settings, all well. */
export function bakedSnapshot(cdns: readonly DefaultCdn[]): SteeringSnapshot {
  return {
    ...EMPTY_SNAPSHOT,
    cdns: cdns.map((cdn) => ({
      ...cdn,
      enabled: true,
      health: 1,
      priorityClass: 1,
      addedGeneration: 0,
      countries: [],
      asns: [],
    })),
  };
}
