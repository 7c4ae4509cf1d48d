import { describe, expect, it } from 'vitest';
import { SettingsError } from '#runtime/config/settings.ts';
import { ORIGIN_SETTINGS, readOriginSettings } from '#origin/settings.ts';

const required = { ADMIN_TOKEN: 'admin-token', INGEST_TOKEN: 'ingest-token' };

function problemsOf(env: Record<string, string>): string[] {
  try {
    readOriginSettings({ ...required, ...env });
    return [];
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.problems.map(({ name }) => name);
  }
}

describe('readOriginSettings', () => {
  it('needs two tokens and nothing else', () => {
    expect(readOriginSettings(required)).toMatchObject({
      ORIGIN_PORT: 8080,
      DATABASE_URL: '',
      LIVE_WINDOW_S: 60,
    });
    expect(() => readOriginSettings({})).toThrow(/ADMIN_TOKEN[\s\S]*INGEST_TOKEN/);
  });

  it.each<[Record<string, string>, string[]]>([
    [{ ORIGIN_TLS_CERT_FILE: 'cert.pem' }, ['ORIGIN_TLS_KEY_FILE']],
    [{ ORIGIN_TLS_KEY_FILE: 'key.pem' }, ['ORIGIN_TLS_CERT_FILE']],
    [{ INGEST_TOKEN: required.ADMIN_TOKEN }, ['INGEST_TOKEN']],
    [{ ADMIN_TOKEN: 'short' }, ['ADMIN_TOKEN']],
    [{ DATABASE_URL: 'mysql://localhost/x' }, ['DATABASE_URL']],
    [{ ORIGIN_PUBLIC_URL: 'live.example' }, ['ORIGIN_PUBLIC_URL']],
    [{ ORIGIN_PUBLIC_URL: 'https://live.example/path' }, ['ORIGIN_PUBLIC_URL']],
    [{ RTMP_PUBLIC_URL: 'rtmp://live.example' }, ['RTMP_PUBLIC_URL']],
    [{ RTMP_PUBLIC_URL: 'rtmp://a.example/live,http://b.example/live' }, ['RTMP_PUBLIC_URL']],
    [{ ORIGIN_PLAYER_MEDIA_ORIGINS: "https://a.example 'unsafe-inline'" }, ['ORIGIN_PLAYER_MEDIA_ORIGINS']],
    [{ ORIGIN_KEY_PEPPER: 'too short' }, ['ORIGIN_KEY_PEPPER']],
    [{ LIVE_STREAM_MEMORY_MIB: '100', LIVE_MEMORY_MIB: '50' }, ['LIVE_STREAM_MEMORY_MIB']],
    [{ LIVE_STREAM_WAITERS_MAX: '100', LIVE_WAITERS_MAX: '50' }, ['LIVE_STREAM_WAITERS_MAX']],
    [
      { ORIGIN_PROT: '1', LIVE_WINDOW_S: '1', ORIGIN_TLS_KEY_FILE: 'k' },
      ['LIVE_WINDOW_S', 'ORIGIN_PROT', 'ORIGIN_TLS_CERT_FILE'],
    ],
  ])('refuses %j', (env, names) => {
    expect(problemsOf(env)).toEqual(names);
  });

  it('takes several ingest URLs, primary first', () => {
    const { RTMP_PUBLIC_URL } = readOriginSettings({
      ...required,
      RTMP_PUBLIC_URL: 'rtmp://a.example/live/, rtmps://b.example:443/app',
    });
    expect(RTMP_PUBLIC_URL).toEqual(['rtmp://a.example/live', 'rtmps://b.example:443/app']);
  });

  it('wants everything that several origins must share, together with ORIGIN_NODE_URL', () => {
    const alone = { ADMIN_TOKEN: 'admin-token', INGEST_TOKEN: 'ingest-token' };
    expect(() => readOriginSettings({ ...alone, ORIGIN_NODE_URL: 'http://10.0.0.1:8080' })).toThrow(
      /REDIS_URL[\s\S]*DATABASE_URL[\s\S]*ORIGIN_KEY_PEPPER[\s\S]*ACCESS_TOKEN_KEYS/,
    );
    expect(() => readOriginSettings({ ...alone, ORIGIN_NODE_URL: 'http://10.0.0.1:8080/path' })).toThrow(
      /ORIGIN_NODE_URL/,
    );
    expect(readOriginSettings({ ...alone, REDIS_URL: 'redis://r' }).ORIGIN_NODE_URL).toBe('');
  });

  it('never repeats a secret', () => {
    const secrets = Object.entries(ORIGIN_SETTINGS).filter(([, setting]) => 'secret' in setting);
    expect(secrets.map(([name]) => name)).toEqual([
      'ADMIN_TOKEN',
      'INGEST_TOKEN',
      'REDIS_URL',
      'DATABASE_URL',
      'ORIGIN_KEY_PEPPER',
      'ACCESS_TOKEN_KEYS',
      'ORIGIN_PULL_TOKEN',
      'S3_SECRET_ACCESS_KEY',
    ]);
    const message = (() => {
      try {
        readOriginSettings({
          ...required,
          DATABASE_URL: 'mysql://user:hidden@host/db',
          ORIGIN_KEY_PEPPER: 'hidden',
        });
      } catch (error) {
        return (error as Error).message;
      }
      return '';
    })();
    expect(message).toContain('DATABASE_URL');
    expect(message).not.toContain('hidden');
  });
});
