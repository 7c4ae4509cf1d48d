import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { readSettings } from '#runtime/config/settings.ts';
import { DEFAULT_INGEST_LIMITS, INGEST_SETTINGS_SCHEMA, toIngestLimits } from './ingest-settings.ts';

describe('the settings of the ingest', () => {
  it('are the defaults when the environment says nothing', () => {
    const values = readSettings(INGEST_SETTINGS_SCHEMA, {});
    expect(toIngestLimits(values)).toEqual(DEFAULT_INGEST_LIMITS);
    expect(values['RTMP_PORT']).toBe(1_935);
    expect(DEFAULT_INGEST_LIMITS).toMatchObject({
      handshakeTimeoutMs: 5_000,
      publishTimeoutMs: 10_000,
      authoriseTimeoutMs: 5_000,
      firstMediaTimeoutMs: 10_000,
      lostAfterMs: 3_000,
      silenceTimeoutMs: 10_000,
      mediaMessageBytesMax: 4 * 1024 * 1024,
      commandMessageBytesMax: 64 * 1024,
      chunkSizeMin: 128,
      chunkSizeMax: 1024 * 1024,
      chunkStreamsMax: 16,
      amfDepthMax: 8,
      amfKeysMax: 256,
      amfStringBytesMax: 4 * 1024,
    });
  });

  it('follow the environment, each by its own name', () => {
    const names = Object.keys(INGEST_SETTINGS_SCHEMA).filter(
      (name) => !['RTMP_PORT', 'RTMP_HOST'].includes(name),
    );
    expect(names).toHaveLength(Object.keys(DEFAULT_INGEST_LIMITS).length);
    for (const name of names) {
      const { default: fallback } = INGEST_SETTINGS_SCHEMA[name] ?? {};
      const value = String(Number(fallback) - 1);
      const changed = toIngestLimits(readSettings(INGEST_SETTINGS_SCHEMA, { [name]: value }));
      const differing = Object.entries(changed).filter(
        ([field, value]) => value !== DEFAULT_INGEST_LIMITS[field as keyof typeof DEFAULT_INGEST_LIMITS],
      );
      expect(differing, `changed by ${name}`).toHaveLength(1);
    }
  });

  it('stand in the README as they are', async () => {
    const readme = await readFile(new URL('./README.md', import.meta.url), 'utf8');
    const cells = readme.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
    const documented = cells.filter(([, name]) => /^`(RTMP|INGEST)_/.test(name ?? ''));
    const expected = Object.entries(INGEST_SETTINGS_SCHEMA).map(([name, setting]) => [
      '',
      `\`${name}\``,
      `\`${String(setting.default)}\``,
      setting.description,
      '',
    ]);
    expect(documented).toEqual(expected);
  });

  it('are refused all at once when they contradict each other', () => {
    const values = readSettings(INGEST_SETTINGS_SCHEMA, {
      RTMP_LOST_AFTER_MS: '20000',
      RTMP_CHUNK_SIZE_MIN: '4096',
      RTMP_CHUNK_SIZE_MAX: '2048',
    });
    expect(() => toIngestLimits(values)).toThrow(
      expect.objectContaining({
        problems: [
          { name: 'RTMP_CHUNK_SIZE_MIN', message: '4096 is more than RTMP_CHUNK_SIZE_MAX (2048)' },
          { name: 'RTMP_LOST_AFTER_MS', message: '20000 is more than RTMP_SILENCE_TIMEOUT_MS (10000)' },
        ],
      }),
    );
  });

  it('are refused with their name when they make no sense', () => {
    expect(() =>
      readSettings(INGEST_SETTINGS_SCHEMA, { RTMP_PORT: '70000', RTMP_AMF_DEPTH_MAX: '0' }),
    ).toThrow(/RTMP_PORT: .*\n.*RTMP_AMF_DEPTH_MAX: /);
  });
});
