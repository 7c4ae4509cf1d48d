import { describe, expect, it } from 'vitest';
import { summaryText, type SummaryFacts } from '#all-in-one/summary.ts';

const facts: SummaryFacts = {
  originUrl: 'http://127.0.0.1:8080',
  rtmpUrl: 'rtmp://127.0.0.1:1935/app',
  adminToken: 'the-admin-token',
  adminTokenFrom: 'kept in data/secrets.json',
  stream: { id: 'demo', streamKey: 'the-key' },
  demo: false,
  lanAddresses: [],
  startedInMs: 2_345,
};

describe('summaryText', () => {
  it('names player, API, RTMP server, stream key and admin token', () => {
    const text = summaryText(facts);
    expect(text).toMatch(/Watch +http:\/\/127\.0\.0\.1:8080\/\n/);
    expect(text).toMatch(/API +http:\/\/127\.0\.0\.1:8080\/api\/v1\/streams\n/);
    expect(text).toMatch(/RTMP server +rtmp:\/\/127\.0\.0\.1:1935\/app\n/);
    expect(text).toMatch(/Stream key +the-key /);
    expect(text).toMatch(/Admin token +the-admin-token +\(kept in data\/secrets\.json\)\n/);
    expect(text).not.toContain('console');
  });

  it('begins with the address of the player, so that scripts find it first', () => {
    expect(/http:\/\/[\w.]+:\d+/.exec(summaryText({ ...facts, lanAddresses: ['10.0.0.7'] }))?.[0]).toBe(
      facts.originUrl,
    );
  });

  it('shows how to publish, or that the demo does', () => {
    expect(summaryText(facts)).toContain('rtmp://127.0.0.1:1935/app/the-key');
    const demo = summaryText({ ...facts, demo: true });
    expect(demo).toContain('http://127.0.0.1:8080/watch/demo');
    expect(demo).not.toContain('OBS');
  });

  it('adds the addresses for other machines and the console where there are any', () => {
    const text = summaryText({ ...facts, lanAddresses: ['10.0.0.7'], steeringUrl: 'http://127.0.0.1:8090' });
    expect(text).toContain('http://10.0.0.7:8080/   rtmp://10.0.0.7:1935/app');
    expect(text).toContain('http://127.0.0.1:8090/console/');
  });

  it('fits a terminal of 120 columns', () => {
    const longest = Math.max(
      ...summaryText(facts)
        .split('\n')
        .map((line) => line.length),
    );
    expect(longest).toBeLessThanOrEqual(120);
  });
});
