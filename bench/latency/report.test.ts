import { expect, it } from 'vitest';
import type { ChainRun, MeasuredPlayer } from '#bench/latency/chain-run.ts';
import { mergeStalls } from '#bench/latency/player-run.ts';
import { rawValues } from '#bench/latency/raw-values.ts';
import { renderCpu, renderDistributions, renderTable, summariseChain } from '#bench/latency/report.ts';

function player(mode: 'bare' | 'own', glassMs: number[], stalls: number[] = []): MeasuredPlayer {
  return {
    mode,
    firstPictureMs: [700, 1_300],
    cpu: [{ stage: 'ladder: ffmpeg', cpuPercent: 58.04, residentBytesMax: 1 }],
    foreignCpuPercent: 3,
    run: {
      glassMs,
      unreadable: 0,
      stalls,
      freezes: [],
      framesPresented: 100,
      framesDropped: 2,
      bufferedAheadS: [0.5],
      playbackRates: [1],
      views: [{ latencyS: 0.6, targetLatencyS: 0.6, height: 720 }],
      errors: [],
    },
  };
}

const chain: ChainRun = {
  partDurationMs: 333,
  playlistHeader: [],
  players: [player('bare', [1_400, 1_750]), player('own', [900, 1_000], [5])],
  parts: [
    {
      rendition: '720p',
      msn: 1,
      part: 0,
      lastFrame: 9,
      ingestAtMs: 1_000,
      listedAtMs: 1_060.04,
      programDateTimeMs: 1_001,
    },
    {
      rendition: 'audio',
      msn: 1,
      part: 0,
      lastFrame: 9,
      ingestAtMs: 1_000,
      listedAtMs: 1_140,
      programDateTimeMs: 999,
    },
  ],
  problems: [],
  publisherDelayMs: [70, 75, 80],
  lateFrames: 0,
};

it('holds every figure against its target', () => {
  const { figures } = summariseChain(chain);
  const found = Object.fromEntries(figures.map(({ name, value, met }) => [name, [value, met]]));
  expect(found).toMatchObject({
    'bare: glass → screen, p50': [1_400, true],
    'bare: glass → screen, p95': [1_750, false],
    'bare: first picture, slowest of 2': [1_300, false],
    'bare: stalls': [0, true],
    "bare: glass → screen without the publisher's delay, p50": [1_325, undefined],
    'own: glass → screen, p95': [1_000, true],
    'own: stalls': [1, false],
    'last frame at ingest → part fetchable, p95': [140, true],
  });
});

it('says by how much a target is missed', () => {
  const table = renderTable([summariseChain(chain)]);
  expect(table).toContain('1750 ms (MISSED ≤ 1700 by 50)');
  expect(table).toContain('1000 ms (≤ 1100)');
});

it('never calls a figure met that was not measured', () => {
  const silent = { ...chain, parts: [], players: [player('own', [])] };
  const figures = summariseChain(silent).figures.filter(
    ({ target, value }) => target !== undefined && Number.isNaN(value),
  );
  expect(figures.map(({ name }) => name)).toEqual([
    'own: glass → screen, p95',
    'last frame at ingest → part fetchable, p95',
  ]);
  expect(figures.map(({ met }) => met)).toEqual([false, false]);
});

it('shows CPU and distributions', () => {
  expect(renderCpu([chain])).toMatch(/ladder: ffmpeg +58\.0 +58\.0/);
  expect(renderDistributions(summariseChain(chain))).toMatch(/part fetchable, audio +1 +140 +140/);
});

it('keeps raw values by rendition', () => {
  expect(rawValues(chain)).toMatchObject({
    ingestToFetchableMs: { '720p': [60], audio: [140] },
    programDateTimeErrorMs: { '720p': [1], audio: [-1] },
  });
});

it('counts signs of trouble within a second as one stall', () => {
  expect(mergeStalls([5_000, 1_000, 1_900, 2_800, 9_000])).toEqual([1_000, 5_000, 9_000]);
  expect(mergeStalls([])).toEqual([]);
});
