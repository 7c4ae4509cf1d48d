import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SteeringManifest } from '#protocol/steering/steering-manifest.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import { VOICES_MIN } from '#steering/qoe/experience-factor.ts';
import { createSteering, type Steering } from '#steering/service.ts';
import { readSteeringSettings } from '#steering/settings.ts';
import { startSyntheticOrigin, type SyntheticOrigin } from '#tests/support/synthetic-ll-hls.ts';
import { hasNoPostgres, startTestPostgres, type TestPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

const ADMIN = 'admin-token-of-the-tests';
const LOWEST_RUNG_BPS = 500_000;
const CDNS = ['cdn-a', 'cdn-b'] as const;
const VIEWERS = 4 * VOICES_MIN;

/** The origin plays both CDNs: what probes see is well, so that only viewers can tell them apart. */
describe.skipIf(hasNoPostgres)('throughput that players tell', () => {
  let origin: SyntheticOrigin;
  let postgres: TestPostgres;
  let steering: Steering;
  let folder: string;

  const snapshot = async (): Promise<SteeringSnapshot> =>
    (await (await fetch(`${steering.url}/steering/v1/snapshot`)).json()) as SteeringSnapshot;
  const ask = async (url: string, address: string, country: string): Promise<SteeringManifest> => {
    const headers = { 'x-forwarded-for': address, 'x-country': country };
    return (await (await fetch(url, { headers })).json()) as SteeringManifest;
  };

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'steering-throughput-'));
    origin = await startSyntheticOrigin({ bandwidthsBps: [2_000_000, LOWEST_RUNG_BPS] });
    postgres = await startTestPostgres();
    const settings = readSteeringSettings({
      ADMIN_TOKEN: ADMIN,
      DATA_DIR: folder,
      STEERING_PORT: '0',
      STEERING_HOST: '127.0.0.1',
      STEERING_ORIGIN_URLS: origin.url,
      STEERING_PROBE_ALLOWED_TARGETS: '127.0.0.1',
      STEERING_TRUST_FORWARDED: 'true',
      STEERING_COUNTRY_HEADER: 'x-country',
      STEERING_TTL_S: '5',
      STEERING_TTL_EVENT_S: '5',
    });
    steering = await createSteering(settings, {
      clock: systemClock,
      logger: createLogger('steering', 'silent'),
      metrics: createMetrics('steering'),
      database: postgres.open({}, await postgres.createDatabase()),
    });
    for (const name of CDNS) {
      const answer = await fetch(`${steering.url}/api/v1/cdns`, {
        method: 'POST',
        headers: { authorization: `Bearer ${ADMIN}`, 'content-type': 'application/json' },
        body: JSON.stringify({ name, baseUrl: origin.url, reason: 'the test begins' }),
      });
      if (answer.status !== 201) throw new Error(`POST ${name}: ${answer.status}`);
    }
    await waitFor(
      'both CDNs to be healthy',
      async () => {
        const { cdns } = await snapshot();
        return cdns.length === 2 && cdns.every(({ health }) => health === 1);
      },
      { deadlineMs: 20_000, intervalMs: 200 },
    );
  }, 60_000);
  afterAll(async () => {
    await steering?.close();
    await postgres?.close();
    await origin?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('below the lowest rung of the stream lowers a CDN where it is told, once enough tell it', async () => {
    const viewers = await Promise.all(
      Array.from({ length: VIEWERS }, async (_, index) => {
        const country = index % 2 === 0 ? 'DE' : 'FR';
        const address = `198.51.${Math.floor(index / 250)}.${index % 250}`;
        return {
          country,
          address,
          manifest: await ask(`${steering.url}/steering/v1/demo`, address, country),
        };
      }),
    );
    // The playlist of the origin says what is the lowest rung; the players come back when their TTLs are over.
    const askedAgainMs = performance.now() + 4_000;
    await waitFor('half of every TTL to pass', () => performance.now() > askedAgainMs, { deadlineMs: 8_000 });
    const again = async (telling: typeof viewers, poorBps: number): Promise<void> => {
      for (const viewer of telling) {
        const [first = ''] = viewer.manifest['PATHWAY-PRIORITY'];
        const isPoor = viewer.country === 'DE' && first === 'cdn-a';
        const bps = isPoor ? poorBps : 8 * LOWEST_RUNG_BPS;
        const more = `&_HLS_pathway=${first}&_HLS_throughput=${bps}`;
        await ask(viewer.manifest['RELOAD-URI'] + more, viewer.address, viewer.country);
      }
    };
    const few = viewers.filter(({ country }) => country === 'DE').slice(0, VOICES_MIN - 1);
    await again(few, LOWEST_RUNG_BPS / 2);
    await again(viewers, LOWEST_RUNG_BPS / 2);
    const { places } = await waitFor(
      'Germany to be served less by cdn-a',
      async () => {
        const now = await snapshot();
        return (now.places?.['DE']?.['cdn-a'] ?? 1) < 0.9 ? now : undefined;
      },
      { deadlineMs: 15_000, intervalMs: 200 },
    );
    expect(places?.['FR']).toBeUndefined();
    expect(places?.['DE']?.['cdn-b']).toBeUndefined();
    expect((await snapshot()).cdns.map(({ enabled }) => enabled)).toEqual([true, true]);
  });
});
