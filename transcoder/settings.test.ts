import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { SettingsError } from '#runtime/config/settings.ts';
import { readTranscoderSettings, toSessionSettings, TRANSCODER_SETTINGS } from '#transcoder/settings.ts';

const TOKEN = { INGEST_TOKEN: 'a-good-token' };

describe('the README', () => {
  it('says what every setting is for', () => {
    const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
    const missing = Object.entries(TRANSCODER_SETTINGS).filter(
      ([name, setting]) =>
        !new RegExp(`\\| \`${name}\` +\\|[^|]+\\| ${escapeText(setting.description)}`).test(readme),
    );
    expect(missing.map(([name]) => name)).toEqual([]);
  });
});

function escapeText(text: string): string {
  return text.replace(/\.$/, '').replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

describe('readTranscoderSettings', () => {
  it('needs nothing but the token', () => {
    expect(readTranscoderSettings(TOKEN)).toMatchObject({
      RTMP_PORT: 1935,
      ORIGIN_URLS: ['http://127.0.0.1:8080'],
      TRANSCODER_PORT: 8070,
      TRANSCODER_PRESET: 'superfast',
      ingestLimits: { lostAfterMs: 3000 },
    });
    expect(() => readTranscoderSettings({})).toThrow(/INGEST_TOKEN: is required/);
  });

  it('reads a ladder, origins and limits', () => {
    const settings = readTranscoderSettings({
      ...TOKEN,
      ORIGIN_URLS: 'http://a:1, http://b:2/',
      TRANSCODER_LADDER: '720:2800k, 360:700000',
      TRANSCODER_UPLOAD_QUEUE_MIB: '4',
      RTMP_LOST_AFTER_MS: '2000',
    });
    expect(settings.ORIGIN_URLS).toEqual(['http://a:1', 'http://b:2']);
    expect(settings.ingestLimits.lostAfterMs).toBe(2000);
    expect(toSessionSettings(settings)).toMatchObject({
      ladder: {
        rungs: [
          { height: 720, bitrateBps: 2_800_000 },
          { height: 360, bitrateBps: 700_000 },
        ],
      },
      publisher: { upload: { bytesMax: 4 * 1024 * 1024 } },
    });
  });

  it.each([
    ['TRANSCODER_LADDER', '720'],
    ['TRANSCODER_LADDER', ''],
    ['TRANSCODER_LADDER', '720:1k'],
    ['TRANSCODER_LADDER', Array.from({ length: 9 }, () => '720:2800k').join(',')],
    ['ORIGIN_URLS', 'localhost:8080'],
    ['ORIGIN_URLS', ''],
    ['TRANSCODER_PRESET', 'placebo'],
    ['TRANSCODER_SESSIONS_MAX', '0'],
    ['TRANSCODER_PRESETT', 'fast'],
    ['RTMP_PORT', '80abc'],
  ])('refuses %s=%s', (name, value) => {
    const attempt = () => readTranscoderSettings({ ...TOKEN, [name]: value });
    expect(attempt).toThrow(SettingsError);
    expect(attempt).toThrow(new RegExp(name));
  });

  it('lists everything that is wrong at once', () => {
    const attempt = () => readTranscoderSettings({ TRANSCODER_NICENESS: '99', TRANSCODER_PORT: 'x' });
    expect(attempt).toThrow(/3 problem/);
  });
});
