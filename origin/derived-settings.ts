import { join } from 'node:path';
import { importAccessKey, type AccessKey } from '#protocol/access/access-keys.ts';
import { keepAccessKeys } from '#runtime/access-keys-file.ts';
import { DEFAULT_LIVE_SETTINGS, type LiveSettings } from '#origin/live/live-settings.ts';
import type { OriginSettings } from '#origin/settings.ts';

const MIB = 1024 * 1024;

/** The keys of playback tokens: those of the settings, or some that are made and kept in DATA_DIR. */
export async function accessKeys(settings: OriginSettings): Promise<[AccessKey, ...AccessKey[]]> {
  const given = settings.ACCESS_TOKEN_KEYS;
  const secrets = given.length > 0 ? given : keepAccessKeys(join(settings.DATA_DIR, 'access-token-keys'));
  const [first, ...rest] = await Promise.all(secrets.map(({ id, secret }) => importAccessKey(id, secret)));
  if (first === undefined) throw new RangeError('there is no key for playback tokens');
  return [first, ...rest];
}

/** The tokens with which CDNs, edges and other origins fetch what they have to guard themselves. */
export function pullTokens(settings: OriginSettings): string[] {
  return [settings.INGEST_TOKEN, settings.ORIGIN_PULL_TOKEN].filter((token) => token !== '');
}

/** The limits of the live window. */
export function liveSettings(settings: OriginSettings): LiveSettings {
  const totalBytesMax = settings.LIVE_MEMORY_MIB * MIB;
  return {
    ...DEFAULT_LIVE_SETTINGS,
    waitersMax: settings.LIVE_WAITERS_MAX,
    streamWaitersMax: Math.min(settings.LIVE_STREAM_WAITERS_MAX, settings.LIVE_WAITERS_MAX),
    addressWaitersMax: settings.LIVE_ADDRESS_WAITERS_MAX,
    streamBytesMax: Math.min(settings.LIVE_STREAM_MEMORY_MIB * MIB, totalBytesMax),
    totalBytesMax,
    streamsMax: settings.LIVE_STREAMS_MAX,
    endedRetentionMs: settings.LIVE_ENDED_RETENTION_S * 1_000,
  };
}
