import { describe, expect, it } from 'vitest';
import { readCdnSettings } from '#cdn/settings.ts';
import { SettingsError } from '#runtime/config/settings.ts';

describe('the settings of a CDN', () => {
  it('need a kind and an origin', () => {
    const settings = readCdnSettings({
      CDN_KIND: 'varnish',
      CDN_ORIGIN_URLS: 'http://a:8080/, http://b:8080',
    });
    expect(settings.CDN_ORIGIN_URLS).toEqual(['http://a:8080', 'http://b:8080']);
    expect(settings.CDN_PORT).toBe(8101);
    expect(() => readCdnSettings({})).toThrow(SettingsError);
  });

  it.each([
    ['CDN_KIND', 'apache'],
    ['CDN_ORIGIN_URLS', ''],
    ['CDN_ORIGIN_URLS', 'https://a:8080'],
    ['CDN_ORIGIN_URLS', 'http://a:8080/path'],
    ['CDN_ORIGIN_URLS', 'http://a;include /etc/passwd'],
    ['CDN_PORT', '0'],
    ['CDN_PULL_TOKEN', 'with "quotes"; and more'],
    ['CDN_HOLD_MAX_S', '1'],
  ])('refuse %s=%s, which would end up in a configuration', (name, value) => {
    const env = { CDN_KIND: 'nginx', CDN_ORIGIN_URLS: 'http://a:8080', [name]: value };
    expect(() => readCdnSettings(env)).toThrow(name);
  });
});
