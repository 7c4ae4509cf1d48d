import { resolve } from 'node:path';
import { LOCAL_CDN_SETTINGS, type LocalCdnSettings } from '#all-in-one/local-cdns.ts';
import {
  EDGE_NODE_SETTINGS,
  readEdgeNodeSettings,
  type EdgeNodeSettings,
} from '#edge-worker/node/edge-node-settings.ts';
import type { SettingsGroup } from '#all-in-one/settings-table.ts';
import { ORIGIN_SETTINGS, readOriginSettings, type OriginSettings } from '#origin/settings.ts';
import { readSettings, SettingsError, type SettingsProblem } from '#runtime/config/settings.ts';
import { readSteeringSettings, STEERING_SETTINGS, type SteeringSettings } from '#steering/settings.ts';
import {
  readTranscoderSettings,
  TRANSCODER_SETTINGS_SCHEMA,
  type TranscoderSettings,
} from '#transcoder/settings.ts';

/** The environment, as the operating system hands it over. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What the one-line start is set to: the settings of each of its services. */
export type AllInOneSettings = {
  readonly origin: OriginSettings;
  readonly transcoder: TranscoderSettings;
  readonly steering: SteeringSettings;
  readonly edge: EdgeNodeSettings;
  readonly localCdns: LocalCdnSettings;
  /** Names that the environment has: what it says of other services' addresses is not to be made up. */
  readonly given: ReadonlySet<string>;
  /** Absolute path of `DATA_DIR`. */
  readonly dataDir: string;
};

/** Secrets to use where the environment has none. */
export type MadeUpSecrets = { readonly adminToken: string; readonly ingestToken: string };

/** Less than the services' own default: what `npm start` prints for a person shall not drown in it. */
const DEFAULT_LOG_LEVEL = 'warn';

/** The settings of every service, in the order of the README. */
export const SETTINGS_GROUPS: readonly SettingsGroup[] = [
  { title: 'Origin', schema: ORIGIN_SETTINGS },
  { title: 'Ingest and transcoder', schema: TRANSCODER_SETTINGS_SCHEMA },
  { title: 'Steering', schema: STEERING_SETTINGS },
  { title: 'Edge worker', schema: EDGE_NODE_SETTINGS },
  { title: 'CDNs of `npm start`', schema: LOCAL_CDN_SETTINGS },
];
const KNOWN_NAMES = SETTINGS_GROUPS.flatMap(({ schema }) => Object.keys(schema));

/**
 * Reads the settings of all services from one environment.
 *
 * @throws {SettingsError} with every problem of every service, each said once
 */
export function readAllInOneSettings(env: Environment, secrets: MadeUpSecrets): AllInOneSettings {
  const full: Environment = {
    ...env,
    ADMIN_TOKEN: env['ADMIN_TOKEN'] ?? secrets.adminToken,
    INGEST_TOKEN: env['INGEST_TOKEN'] ?? secrets.ingestToken,
    LOG_LEVEL: env['LOG_LEVEL'] ?? DEFAULT_LOG_LEVEL,
  };
  const problems = new Map<string, SettingsProblem>();
  const attempt = <Settings>(read: () => Settings): Settings | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      for (const problem of error.problems) problems.set(`${problem.name}: ${problem.message}`, problem);
      return undefined;
    }
  };
  const origin = attempt(() => readOriginSettings(full, KNOWN_NAMES));
  const transcoder = attempt(() => readTranscoderSettings(full, KNOWN_NAMES));
  const steering = attempt(() => readSteeringSettings(full, KNOWN_NAMES));
  const edge = attempt(() => readEdgeNodeSettings(full, KNOWN_NAMES));
  const localCdns = attempt(() => readSettings(LOCAL_CDN_SETTINGS, full, KNOWN_NAMES));
  for (const problem of contradictions(full)) problems.set(problem.name, problem);
  if (
    origin === undefined ||
    transcoder === undefined ||
    steering === undefined ||
    edge === undefined ||
    localCdns === undefined ||
    problems.size > 0
  )
    throw new SettingsError([...problems.values()]);
  const dataDir = resolve(origin.DATA_DIR);
  return {
    origin: { ...origin, DATA_DIR: dataDir },
    transcoder,
    steering: { ...steering, DATA_DIR: dataDir },
    edge,
    localCdns,
    given: new Set(Object.keys(env).filter((name) => env[name] !== undefined)),
    dataDir,
  };
}

/** The names of settings that must not reach our children by their environment. */
export function secretNames(): string[] {
  return SETTINGS_GROUPS.flatMap(({ schema }) =>
    Object.entries(schema).flatMap(([name, { secret }]) => (secret === true ? [name] : [])),
  );
}

function contradictions(env: Environment): SettingsProblem[] {
  if ((env['ORIGIN_TLS_CERT_FILE'] ?? '') === '') return [];
  const message =
    'is needed together with ORIGIN_TLS_CERT_FILE: the origin must be called by the name in its certificate, ' +
    'such as https://live.example.com:8080';
  return ['ORIGIN_URLS', 'STEERING_ORIGIN_URLS']
    .filter((name) => env[name] === undefined)
    .map((name) => ({ name, message }));
}

/**
 * Checks an environment before any secret is made up, so that a start with bad settings leaves nothing behind.
 *
 * @returns the absolute path of the data folder
 * @throws {SettingsError} as {@link readAllInOneSettings} does
 */
export function checkEnvironment(env: Environment): string {
  const standIns = { adminToken: 'stands-in-for-a-token', ingestToken: 'stands-in-for-another' };
  return readAllInOneSettings(env, standIns).dataDir;
}
