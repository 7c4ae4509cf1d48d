import { z } from 'zod';
import { choice, flag, integer, readSettings, text, type SettingsOf } from '#runtime/config/settings.ts';
import { LOG_LEVELS } from '#runtime/log.ts';
import { CDN_KINDS, HOLD_MAX_S } from '#cdn/cdn-program.ts';

/** Comma-separated `http://host:port`: none of the programs speaks TLS to an origin in these configurations. */
const originUrls = z
  .string()
  .transform((value) => value.split(',').flatMap((url) => url.trim().replace(/\/$/, '') || []))
  .refine(
    (urls) => urls.length > 0 && urls.length <= 8 && urls.every((url) => /^http:\/\/[\w.:[\]-]+$/.test(url)),
    'expected http://host:port, at most 8 of them separated by commas',
  );

/** Everything that can be set about a CDN that runs by itself (`node cdn/main.ts`), by environment variable. */
export const CDN_SETTINGS = {
  CDN_KIND: { parse: choice(CDN_KINDS), description: 'Program: nginx, varnish or trafficserver.' },
  CDN_PORT: { parse: integer(1, 65_535), default: 8101, description: 'Port to listen on.' },
  CDN_HOST: { parse: text(1, 255), default: '0.0.0.0', description: 'Address to listen on.' },
  CDN_ORIGIN_URLS: {
    parse: originUrls,
    description:
      'Origins, http://host:port; the first is asked, the others when it cannot be reached (trafficserver: the first only).',
  },
  CDN_FOLDER: {
    parse: text(1, 4096),
    default: './data/cdn',
    description: 'Folder for configuration, cache and sockets of the program.',
  },
  CDN_CACHE_MIB: { parse: integer(32, 1_000_000), default: 256, description: 'Size of the cache, MiB.' },
  CDN_WORKERS: { parse: integer(1, 64), default: 1, description: 'Processes or threads that serve.' },
  CDN_HOLD_MAX_S: {
    parse: integer(4, 120),
    default: HOLD_MAX_S,
    description: 'Longest time that a request may be held, seconds; more than three target durations.',
  },
  CDN_PULL_TOKEN: {
    parse: z.union(
      [z.literal(''), z.string().regex(/^[\w.~+/=-]{8,256}$/)],
      'expected 8 to 256 letters, digits or . _ ~ + / = -',
    ),
    default: '',
    description:
      'nginx: ORIGIN_PULL_TOKEN of the origins. With it the CDN checks access tokens and shares one copy of protected streams.',
    secret: true,
  },
  CDN_ACCESS_LOG: {
    parse: flag,
    default: false,
    description: 'nginx: writes a line for each request to access.log in CDN_FOLDER.',
  },
  LOG_LEVEL: { parse: choice(LOG_LEVELS), default: 'info', description: 'Least level that is logged.' },
} as const;

export type CdnSettings = SettingsOf<typeof CDN_SETTINGS>;

/** Reads them. @throws {SettingsError} with everything that is wrong */
export function readCdnSettings(env: Readonly<Record<string, string | undefined>>): CdnSettings {
  return readSettings(CDN_SETTINGS, env);
}
