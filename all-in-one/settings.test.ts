import { describe, expect, it } from 'vitest';
import {
  checkEnvironment,
  readAllInOneSettings,
  secretNames,
  SETTINGS_GROUPS,
  type Environment,
} from '#all-in-one/settings.ts';
import { SettingsError } from '#runtime/config/settings.ts';

const secrets = { adminToken: 'made-up-admin-token', ingestToken: 'made-up-ingest-token' };

function problemsOf(env: Environment): string[] {
  try {
    readAllInOneSettings(env, secrets);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems.map(({ name }) => name);
    throw error;
  }
  return [];
}

describe('readAllInOneSettings', () => {
  it('needs nothing to be set', () => {
    const settings = readAllInOneSettings({}, secrets);
    expect(settings.origin.ADMIN_TOKEN).toBe(secrets.adminToken);
    expect(settings.origin.INGEST_TOKEN).toBe(secrets.ingestToken);
    expect(settings.transcoder.INGEST_TOKEN).toBe(secrets.ingestToken);
    expect(settings.dataDir).toMatch(/^\/.*\/data$/);
    expect(settings.origin.DATA_DIR).toBe(settings.dataDir);
  });

  it('prefers the tokens of the environment and logs less than the services would alone', () => {
    const { origin } = readAllInOneSettings({ ADMIN_TOKEN: 'given-admin-token' }, secrets);
    expect(origin.ADMIN_TOKEN).toBe('given-admin-token');
    expect(origin.LOG_LEVEL).toBe('warn');
    expect(readAllInOneSettings({ LOG_LEVEL: 'debug' }, secrets).transcoder.LOG_LEVEL).toBe('debug');
  });

  it('lets the services know each other’s names, and nobody else’s', () => {
    expect(problemsOf({ TRANSCODER_PORT: '0', LIVE_WINDOW_S: '30', RTMP_HOST: '::', PATH: '/bin' })).toEqual(
      [],
    );
    expect(problemsOf({ TRANSCODER_PROT: '0' })).toEqual(['TRANSCODER_PROT']);
  });

  it('takes the ports of a whole installation, the edge worker’s too', () => {
    const ports = ['RTMP_PORT', 'ORIGIN_PORT', 'STEERING_PORT', 'EDGE_PORT'];
    expect(problemsOf(Object.fromEntries(ports.map((name) => [name, '0'])))).toEqual([]);
    expect(problemsOf(Object.fromEntries(ports.map((name) => [name, '28787'])))).toEqual([]);
    expect(problemsOf(Object.fromEntries(ports.map((name) => [name, '65536'])))).toEqual(
      expect.arrayContaining(ports),
    );
  });

  it('lists the problems of all services together, one shared by several once', () => {
    const env = { LIVE_WINDOW_S: 'x', TRANSCODER_PRESET: 'x', LOG_LEVEL: 'x', RTMP_PORT: 'x', EDGE_X: '1' };
    expect(problemsOf(env).toSorted()).toEqual(Object.keys(env).toSorted());
  });

  it('wants to know by which name an origin with a certificate is to be called', () => {
    const tls = { ORIGIN_TLS_CERT_FILE: 'cert.pem', ORIGIN_TLS_KEY_FILE: 'key.pem' };
    expect(problemsOf(tls)).toEqual(['ORIGIN_URLS', 'STEERING_ORIGIN_URLS']);
    const named = { ORIGIN_URLS: 'https://live.example:8080', STEERING_ORIGIN_URLS: 'https://live.example' };
    expect(problemsOf({ ...tls, ...named })).toEqual([]);
  });
});

describe('checkEnvironment', () => {
  it('returns the data folder of an environment without tokens, and refuses a bad one', () => {
    expect(checkEnvironment({ DATA_DIR: '/srv/live' })).toBe('/srv/live');
    expect(() => checkEnvironment({ ORIGIN_PORT: 'x' })).toThrow(SettingsError);
  });
});

describe('the settings of all services', () => {
  it('hide what is secret from children', () => {
    expect(secretNames()).toEqual(expect.arrayContaining(['ADMIN_TOKEN', 'INGEST_TOKEN', 'DATABASE_URL']));
  });

  it('mean the same where two services share a name', () => {
    const madeUpHere = ['ADMIN_TOKEN', 'INGEST_TOKEN'];
    const settings = SETTINGS_GROUPS.flatMap(({ schema }) => Object.entries(schema)).filter(
      ([name]) => !madeUpHere.includes(name),
    );
    const byName = new Map(settings.map(([name, setting]) => [name, JSON.stringify(setting.default)]));
    const differing = settings.filter(
      ([name, setting]) => byName.get(name) !== JSON.stringify(setting.default),
    );
    expect(differing.map(([name]) => name)).toEqual([]);
    expect(byName.size).toBeGreaterThan(50);
  });
});
