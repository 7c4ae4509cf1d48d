import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SettingsError } from '#runtime/config/settings.ts';
import { readSteeringSettings, STEERING_SETTINGS } from '#steering/settings.ts';

const KEY = `1:${Buffer.alloc(32, 1).toString('base64url')}`;

function problemsOf(env: Record<string, string>): string[] {
  try {
    readSteeringSettings(env);
    return [];
  } catch (error) {
    if (error instanceof SettingsError) return error.problems.map(({ name }) => name);
    throw error;
  }
}

describe('the settings of a steering server', () => {
  it('need nothing to be set', () => {
    const settings = readSteeringSettings({});
    expect(settings).toMatchObject({
      STEERING_PORT: 8090,
      STEERING_TTL_S: 25,
      STEERING_TTL_EVENT_S: 7,
      STEERING_COST_POLICY: 'off',
      REDIS_URL: '',
    });
  });

  it('take what a deployment of several nodes sets', () => {
    const settings = readSteeringSettings({
      ADMIN_TOKEN: 'a-long-token',
      STEERING_PUBLIC_URL: 'https://steer.example/',
      STEERING_TOKEN_KEYS: KEY,
      STEERING_COUNTRY_HEADER: 'CF-IPCountry',
      REDIS_URL: 'redis+cluster://a:1,b:2',
      DATABASE_URL: 'postgres://steering@db/live',
    });
    expect(settings).toMatchObject({
      STEERING_PUBLIC_URL: 'https://steer.example',
      STEERING_COUNTRY_HEADER: 'cf-ipcountry',
    });
    expect(settings.STEERING_TOKEN_KEYS).toMatchObject([{ id: 1 }]);
  });

  it.each([
    ['STEERING_PORT', { STEERING_PORT: '70000' }],
    ['STEERING_PUBLIC_URL', { STEERING_PUBLIC_URL: 'https://steer.example/?a=b' }],
    ['STEERING_PUBLIC_URL', { STEERING_PUBLIC_URL: 'steer.example' }],
    ['STEERING_TOKEN_KEYS', { STEERING_TOKEN_KEYS: 'secret' }],
    ['STEERING_TTL_S', { STEERING_TTL_S: '1801' }],
    ['STEERING_TTL_EVENT_S', { STEERING_TTL_S: '20', STEERING_TTL_EVENT_S: '30' }],
    ['REDIS_URL', { REDIS_URL: 'http://redis', STEERING_TOKEN_KEYS: KEY }],
    ['STEERING_TOKEN_KEYS', { REDIS_URL: 'redis://redis' }],
    ['STEERING_TLS_KEY_FILE', { STEERING_TLS_CERT_FILE: '/a' }],
    ['STEERING_TTLS', { STEERING_TTLS: '1' }],
  ])('refuse a bad %s', (name, env) => {
    expect(problemsOf(env as Record<string, string>)).toEqual([name]);
  });

  it('are all in the README, with their defaults', () => {
    const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
    const row = (name: string): string =>
      readme.split('\n').find((line) => line.startsWith(`| \`${name}\``)) ?? '';
    for (const [name, { default: fallback }] of Object.entries(STEERING_SETTINGS)) {
      expect(row(name)).not.toBe('');
      const isPlain = typeof fallback === 'number' || typeof fallback === 'boolean';
      expect(row(name)).toContain(isPlain ? `\`${String(fallback)}\`` : name);
    }
  });

  it('never repeat a secret', () => {
    const secrets = Object.entries(STEERING_SETTINGS).filter(([, setting]) => 'secret' in setting);
    expect(secrets.map(([name]) => name).toSorted()).toEqual([
      'ACCESS_TOKEN_KEYS',
      'ADMIN_TOKEN',
      'DATABASE_URL',
      'REDIS_URL',
      'STEERING_CMCD_LOG_TOKEN',
      'STEERING_TOKEN_KEYS',
    ]);
    const read = (): unknown => readSteeringSettings({ STEERING_TOKEN_KEYS: 'hush', DATABASE_URL: 'hush' });
    expect(read).toThrow(SettingsError);
    expect(read).not.toThrow(/hush/);
  });
});
