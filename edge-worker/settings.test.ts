import { describe, expect, it } from 'vitest';
import { bakedSnapshot, EdgeSettingsError, readEdgeSettings } from '#edge-worker/settings.ts';
import { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';

describe('the settings of the edge', () => {
  it('need nothing, and leave bindings alone that are no text', () => {
    expect(readEdgeSettings({ SOME_KV: {} })).toMatchObject({ EDGE_MEMORY_MIB: 48, EDGE_DEFAULT_CDNS: [] });
  });

  it('read lists of CDNs and keys', () => {
    const settings = readEdgeSettings({
      EDGE_DEFAULT_CDNS: 'a=https://a.example/*70, b=https://b.example:8443/live',
      STEERING_TOKEN_KEYS: `7:${Buffer.alloc(32, 1).toString('base64url')}`,
      ORIGIN_URLS: 'http://one:8080,http://two:8080/',
    });
    expect(settings.EDGE_DEFAULT_CDNS).toEqual([
      { name: 'a', baseUrl: 'https://a.example', weight: 70 },
      { name: 'b', baseUrl: 'https://b.example:8443/live', weight: 1 },
    ]);
    expect(settings.STEERING_TOKEN_KEYS[0]?.id).toBe(7);
    expect(settings.ORIGIN_URLS).toEqual(['http://one:8080', 'http://two:8080']);
    expect(SteeringSnapshot.safeParse(bakedSnapshot(settings.EDGE_DEFAULT_CDNS)).success).toBe(true);
  });

  it('are refused together, each with its name, and no key is said', () => {
    const env = {
      ORIGIN_URLS: 'ftp://x',
      EDGE_DEFAULT_CDNS: 'a=https://a,a=https://b',
      STEERING_TOKEN_KEYS: '1:c2VjcmV0',
      EDGE_MEMORY_MIB: '0',
    };
    const said = messageOf(() => readEdgeSettings(env));
    expect(new Set(said.split('\n').map((line) => line.split(':')[0]))).toEqual(new Set(Object.keys(env)));
    expect(said).not.toContain('c2VjcmV0');
  });
});

function messageOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof EdgeSettingsError) return error.message;
  }
  return '';
}
