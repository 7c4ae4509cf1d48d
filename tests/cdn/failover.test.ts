import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installedKinds } from '#cdn/cdn-process.ts';
import { CDN_KINDS } from '#cdn/cdn-program.ts';
import { startFfmpegViewer } from '#tests/support/ffmpeg-viewer.ts';
import { FailoverStage, PART_MS, RAMP_S, TTL_S, type StagedCdn } from '#tests/support/failover-stage.ts';
import type { LightViewer } from '#tests/support/light-viewer.ts';
import type { PlayerName, SteeredPlayer } from '#tests/support/steered-players.ts';
import { hasNoPostgres } from '#tests/support/test-postgres.ts';
import { waitFor } from '#tests/support/wait-for.ts';

// Every row of the table that `npm run failover` prints: an event while browsers and many light viewers play, and what they
// notice. What is asserted is that everybody plays on and is where they should be; the figures are printed beside what they
// are to reach.

const VIEWERS = Number(process.env['FAILOVER_VIEWERS'] ?? 100);
const CROWD = Number(process.env['FAILOVER_CROWD'] ?? 300);
const STEERING_DOWN_S = Number(process.env['FAILOVER_STEERING_DOWN_S'] ?? 20);
const TABS = 3;
const UNSTEERED = 20;
/** A tab has left a CDN when it loads, but nothing from there for so long: what was on its way still comes. */
const SETTLED_MS = 2_000;
const LEAVE_DEADLINE_MS = 30_000;
const TTL_MAX_MS = TTL_S * 1.3 * 1_000 + 500;

const missing = CDN_KINDS.filter((kind) => !installedKinds().includes(kind));
const ready = !hasNoPostgres && missing.length === 0;

type Row = { readonly event: string; readonly toReach: string; readonly measured: string };

describe.skipIf(!ready)(`failover between real CDNs (not here: ${missing.join(', ') || 'none'})`, () => {
  const rows: Row[] = [];
  const lateness = monitorEventLoopDelay({ resolution: 10 });
  let stage: FailoverStage;
  let viewers: LightViewer[] = [];

  beforeAll(async () => {
    lateness.enable();
    stage = await FailoverStage.open();
    viewers = await stage.viewers(VIEWERS);
  }, 180_000);
  afterAll(async () => {
    lateness.disable();
    for (const viewer of viewers) viewer.stop();
    console.log(table(rows));
    await stage?.close();
  }, 60_000);

  /** Tabs of one session, all on the CDN that steering names first. */
  const watching = async (
    name: PlayerName,
    watch: (tabs: readonly SteeredPlayer[], first: StagedCdn) => Promise<void>,
  ): Promise<void> => {
    await stage.allWell();
    const session = `${name}-${rows.length}`.replaceAll('.', '-');
    const [first = ''] = await stage.players.orderOf(session);
    const tabs: SteeredPlayer[] = [];
    try {
      for (let count = 0; count < TABS; count++)
        tabs.push(await stage.players.open(stage.browser, name, session));
      for (const viewer of viewers) viewer.forget();
      // Every viewer hears of the CDN that is back.
      await delay(TTL_MAX_MS);
      const why = viewers.flatMap(({ failures }) => failures);
      if (why.length > 0)
        console.log(`before: ${why.length} failures, the first ${why.slice(0, 3).join(', ')}`);
      await forget(tabs);
      await watch(tabs, stage.cdn(first));
    } finally {
      await Promise.all(tabs.map((tab) => tab.close()));
      await stage.heal(first);
    }
  };
  const forget = async (tabs: readonly SteeredPlayer[]): Promise<void> => {
    await Promise.all(tabs.map((tab) => tab.progress()));
    lateness.reset();
    for (const viewer of viewers) viewer.forget();
  };
  const leaves = async (tab: SteeredPlayer, name: string): Promise<number> => {
    try {
      return await waitFor(
        `${tab.name} to leave ${name}`,
        () => {
          const last = tab.loads.findLastIndex(({ cdn }) => cdn === name);
          const next = tab.loads[last + 1];
          return performance.now() - (tab.loads[last]?.atMs ?? 0) > SETTLED_MS && next?.atMs;
        },
        { deadlineMs: LEAVE_DEADLINE_MS },
      );
    } catch (error) {
      throw new Error(`${tab.name}: ${(await tab.errors()).slice(-10).join(', ')}`, { cause: error });
    }
  };
  const goesOn = async (tab: SteeredPlayer): Promise<void> => {
    const { timeS } = await tab.progress();
    await waitFor('the tab to play on', async () => (await tab.progress()).timeS >= timeS + 1, {
      deadlineMs: 15_000,
      intervalMs: 100,
    });
  };
  const record = (event: string, toReach: string, figures: readonly string[]): void => {
    // A machine that cannot keep up stalls viewers by itself: this tells the one from the other.
    const measured = [...figures, `this process late by up to ${seconds(lateness.max / 1e6)}`].join('; ');
    rows.push({ event, toReach, measured });
    console.log(`${event}: ${measured}`);
  };

  const FAULTS: readonly {
    readonly event: string;
    readonly toReach: string;
    readonly player?: PlayerName;
    readonly mayStay?: boolean;
    readonly begin: (cdn: StagedCdn) => void | Promise<void>;
  }[] = [
    {
      event: 'CDN killed',
      toReach: 'elsewhere, stall 0 s',
      begin: async ({ cache, front }) => void (await Promise.all([cache.kill(), front.refuse()])),
    },
    {
      event: 'CDN answers 404',
      toReach: 'elsewhere, stall 0 s',
      begin: ({ front }) => void (front.breakage = { kind: 'status', status: 404 }),
    },
    {
      event: 'CDN resets',
      toReach: 'elsewhere, stall 0 s',
      begin: ({ front }) => void (front.breakage = { kind: 'resets' }),
    },
    {
      event: 'CDN answers 503',
      toReach: 'switch ≤ 1 s, stall 0 s',
      begin: ({ front }) => void (front.breakage = { kind: 'status', status: 503 }),
    },
    {
      event: 'CDN answers 503, hls.js defaults',
      toReach: 'stall ≤ 2 s',
      player: 'hls.js-default',
      begin: ({ front }) => void (front.breakage = { kind: 'status', status: 503 }),
    },
    {
      event: 'CDN hangs',
      toReach: 'stall ≤ 1.5 s, all moved ≤ 12 s',
      begin: ({ front }) => void (front.breakage = { kind: 'hangs' }),
    },
    {
      event: 'CDN frozen (SIGSTOP)',
      toReach: 'stall ≤ 1.5 s, all moved ≤ 12 s',
      begin: ({ cache }) => cache.pause(),
    },
    {
      event: 'playlist frozen',
      toReach: 'stall ≤ 1.5 s, all moved ≤ 12 s',
      begin: ({ front }) => void (front.breakage = { kind: 'frozen' }),
    },
    {
      event: 'CDN slow (1 Mbit/s per connection)',
      toReach: 'moved or lower rung, stall ≤ 2 s',
      mayStay: true,
      begin: ({ front }) => void (front.breakage = { kind: 'slow', bytesPerSecond: 125_000 }),
    },
  ];
  it.each(FAULTS)('$event', async ({ event, toReach, player = 'hls.js-page', mayStay = false, begin }) => {
    await watching(player, async (tabs, victim) => {
      const on = viewers.filter(({ cdn }) => cdn === victim.name);
      expect(on.length).toBeGreaterThan(0);
      const beganMs = performance.now();
      await begin(victim);
      const measured: string[] = [`${victim.name} (${victim.cache.kind})`];
      if (mayStay) {
        await delay(10_000);
        const stayed = tabs.filter(({ loads }) => loads.at(-1)?.cdn === victim.name).length;
        measured.push(`after 10 s ${stayed} of ${tabs.length} tabs are still there`);
      } else {
        const left = await Promise.all(tabs.map((tab) => leaves(tab, victim.name)));
        measured.push(`tabs elsewhere after ${seconds(Math.max(...left) - beganMs)}`);
        await waitFor('all viewers to be elsewhere', () => on.every(({ cdn }) => cdn !== victim.name), {
          deadlineMs: LEAVE_DEADLINE_MS,
        });
        const last = Math.max(
          ...on.map(({ moves }) => moves.find(({ from }) => from === victim.name)?.atMs ?? 0),
        );
        measured.push(`all ${on.length} viewers after ${seconds(last - beganMs)}`);
      }
      const standstills = await Promise.all(tabs.map(async (tab) => (await tab.progress()).standstillMs));
      await Promise.all(tabs.map(goesOn));
      await delay(1_000);
      const stalls = on.map((viewer) => viewer.takeStall());
      const others = viewers.filter((viewer) => !on.includes(viewer)).map((viewer) => viewer.takeStall());
      measured.push(
        `standstill of tabs ${seconds(Math.max(...standstills))}`,
        `stall of viewers p50 ${seconds(quantile(stalls, 0.5))} max ${seconds(Math.max(...stalls))}`,
        `of those elsewhere max ${seconds(Math.max(0, ...others))}`,
      );
      record(event, toReach, measured);
    });
  });

  it('ops set a weight from 50 to 0', async () => {
    await watching('hls.js-page', async (tabs, drained) => {
      const on = viewers.filter(({ cdn }) => cdn === drained.name);
      const others = viewers.filter(({ cdn }) => cdn !== drained.name);
      const beganMs = performance.now();
      await stage.setWeight(drained.name, 0);
      try {
        await waitFor('all viewers to be elsewhere', () => on.every(({ cdn }) => cdn !== drained.name), {
          deadlineMs: LEAVE_DEADLINE_MS,
        });
        const last = Math.max(...on.map(({ moves }) => moves[0]?.atMs ?? 0));
        const left = await Promise.all(tabs.map((tab) => leaves(tab, drained.name)));
        await delay(TTL_MAX_MS);
        const movedOthers = others.filter(({ moves }) => moves.length > 0).length;
        const standstills = await Promise.all(tabs.map(async (tab) => (await tab.progress()).standstillMs));
        record('ops set weight 50 → 0', `all within a TTL (${TTL_S} s ± 30 %) + 1 s, no stall, nobody else`, [
          `all ${on.length} viewers after ${seconds(last - beganMs)}`,
          `tabs after ${seconds(Math.max(...left) - beganMs)}`,
          `others moved: ${movedOthers} of ${others.length}`,
          `standstill of tabs ${standstills.map(seconds).join(', ')}`,
          `stall of viewers max ${seconds(Math.max(...on.map((viewer) => viewer.takeStall())))}`,
        ]);
        expect(others.filter(({ moves, failures }) => moves.length > failures.length).length).toBe(0);
      } finally {
        await stage.setWeight(drained.name, 50);
      }
    });
  });

  it('a CDN comes back', async () => {
    // Viewers that have left a CDN keep away from it for two minutes; new ones show what steering does.
    for (const viewer of viewers.splice(0)) viewer.stop();
    await stage.allWell();
    viewers = await stage.viewers(VIEWERS);
    const name = 'south';
    const share = (): number => viewers.filter(({ cdn }) => cdn === name).length;
    const before = share();
    await stage.setWeight(name, 0);
    await waitFor('the CDN to be empty', () => share() === 0, { deadlineMs: LEAVE_DEADLINE_MS });
    const { front, cache } = stage.cdn(name);
    await Promise.all([cache.kill(), front.refuse()]);
    await waitFor(
      'steering to see it',
      async () => (await stage.snapshot()).cdns.some(({ health }) => health === 0),
      {
        deadlineMs: 20_000,
        intervalMs: 100,
      },
    );
    await stage.setWeight(name, 50);
    await delay(TTL_MAX_MS);
    expect(share()).toBe(0);
    await forget([]);
    await stage.heal(name);
    const beganMs = performance.now();
    const seen: string[] = [];
    const watched = (async () => {
      while (performance.now() - beganMs < 60_000) {
        const health = (await stage.snapshot()).cdns.find((cdn) => cdn.name === name)?.health;
        const line = `${String(health)}`;
        if (seen.at(-1) !== line) seen.push(line);
        if (health === 1) return performance.now() - beganMs;
        await delay(100);
      }
      throw new Error(`the CDN did not come back: ${seen.join(' ')}`);
    })();
    const rampMs = await watched;
    await waitFor('its viewers to be back', () => share() >= before, { deadlineMs: LEAVE_DEADLINE_MS });
    const backMs = performance.now() - beganMs;
    const flaps = viewers.filter(({ moves }) => moves.length > 1).length;
    record('CDN back', `its weight after the ramp of ${RAMP_S} s, no stall, no flap`, [
      `health ${seen.join(' → ')} after ${seconds(rampMs)}`,
      `all ${before} viewers after ${seconds(backMs)}`,
      `moved more than once: ${flaps}`,
      `stall max ${seconds(Math.max(...viewers.map((viewer) => viewer.takeStall())))}`,
    ]);
    expect(share()).toBe(before);
    expect(flaps).toBe(0);
  }, 180_000);

  it(
    'the steering server is killed',
    async () => {
      await watching('hls.js-page', async (tabs) => {
        await stage.steeringFront.refuse();
        try {
          await delay(STEERING_DOWN_S * 1_000);
          const standstills = await Promise.all(tabs.map(async (tab) => (await tab.progress()).standstillMs));
          const failures = viewers.filter(({ steeringFailures }) => steeringFailures > 0).length;
          record('steering server killed', 'no effect on playback for 10 min', [
            `away for ${STEERING_DOWN_S} s, ${failures} of ${viewers.length} viewers asked in vain`,
            `standstill of tabs ${seconds(Math.max(...standstills))}`,
            `stall of viewers max ${seconds(Math.max(...viewers.map((viewer) => viewer.takeStall())))}`,
            `moved: ${viewers.filter(({ moves }) => moves.length > 0).length}`,
          ]);
          await Promise.all(tabs.map(goesOn));
          // Who moved had a failure of the CDN, which is no effect of steering.
          expect(viewers.filter(({ moves, failures }) => moves.length > failures.length).length).toBe(0);
        } finally {
          await stage.steeringFront.heal();
        }
      });
    },
    STEERING_DOWN_S * 1_000 + 120_000,
  );

  it('a crowd watches one stream through each CDN', async () => {
    const crowd = await stage.viewers(Math.max(0, CROWD - viewers.length));
    try {
      await delay(2_000);
      const all = [...viewers, ...crowd];
      for (const { behind } of stage.cdns.values()) behind.forget();
      await forget([]);
      for (const viewer of crowd) viewer.forget();
      await delay(6_000);
      const counted = [...stage.cdns.values()].map(({ name, behind, cache }) => {
        const held = [...behind.asked].filter(([url]) => url.includes('_HLS_msn') || url.endsWith('.m4s'));
        const most = Math.max(...held.map(([, count]) => count));
        const watching = all.filter(({ cdn }) => cdn === name).length;
        return {
          most,
          line: `${cache.kind}: ${watching} viewers, ${held.length} objects, at most ${most} request`,
        };
      });
      record(`${all.length} clients on one stream`, '1 request per object per CDN', [
        ...counted.map(({ line }) => line),
        `stall p50 ${seconds(
          quantile(
            all.map((viewer) => viewer.takeStall()),
            0.5,
          ),
        )}`,
      ]);
      expect(counted.map(({ most }) => most)).toEqual([1, 1, 1]);
    } finally {
      for (const viewer of crowd) viewer.stop();
    }
  });

  it('the edge is restarted under load', async () => {
    const edge = await stage.edge();
    const unsteered = await stage.unsteeredViewers(edge, UNSTEERED);
    const tabs: SteeredPlayer[] = [];
    try {
      for (let count = 0; count < TABS; count++)
        tabs.push(
          await stage.players.open(stage.browser, 'hls.js-page', `edge-${count}`, stage.masterUrl(edge)),
        );
      await delay(5_000);
      await forget(tabs);
      for (const viewer of unsteered) viewer.forget();
      await edge.kill();
      const killedMs = performance.now();
      await edge.start();
      const awayMs = performance.now() - killedMs;
      await delay(6_000);
      const standstills = await Promise.all(tabs.map(async (tab) => (await tab.progress()).standstillMs));
      const stalls = unsteered.map((viewer) => viewer.takeStall());
      record('edge restarted under load', 'no effect on steering players; others stall ≤ 1 s', [
        `away for ${seconds(awayMs)}`,
        `standstill of steering tabs ${seconds(Math.max(...standstills))}`,
        `stall of ${unsteered.length} viewers that do not steer p50 ${seconds(quantile(stalls, 0.5))} max ${seconds(Math.max(...stalls))}`,
      ]);
      await Promise.all(tabs.map(goesOn));
      expect(unsteered.every(({ loadedFrom }) => loadedFrom !== '')).toBe(true);
    } finally {
      for (const viewer of unsteered) viewer.stop();
      await Promise.all(tabs.map((tab) => tab.close()));
    }
  });

  it('players that do not steer, while their CDN is killed', async () => {
    await stage.allWell();
    const edge = await stage.edge();
    const unsteered = await stage.unsteeredViewers(edge, UNSTEERED);
    expect(new Set(unsteered.map(({ loadedFrom }) => loadedFrom)).size).toBe(1);
    const unsteeredUrl = stage.masterUrl(edge, '?steering=0');
    const tab = await stage.players.open(stage.browser, 'hls.js-page', 'unsteered', unsteeredUrl);
    const ffmpeg = await startFfmpegViewer(unsteeredUrl);
    try {
      await delay(5_000);
      const from = unsteered[0]?.loadedFrom ?? '';
      const victim = [...stage.cdns.values()].find(({ front }) => front.url === from);
      if (victim === undefined) throw new Error(`no CDN is at ${from}`);
      await tab.progress();
      for (const viewer of unsteered) viewer.forget();
      const playedS = await ffmpeg.playedS();
      await Promise.all([victim.cache.kill(), victim.front.refuse()]);
      await waitFor(
        'all to load from elsewhere',
        () => unsteered.every(({ loadedFrom }) => loadedFrom !== from),
        {
          deadlineMs: LEAVE_DEADLINE_MS,
        },
      );
      await delay(10_000);
      const { standstillMs } = await tab.progress();
      const stalls = unsteered.map((viewer) => viewer.takeStall());
      await waitFor('ffmpeg to read on', async () => (await ffmpeg.playedS()) > playedS + 6, {
        deadlineMs: 20_000,
        intervalMs: 200,
      });
      record('CDN killed, players that do not steer', 'keep playing', [
        `${victim.name} (${victim.cache.kind})`,
        `hls.js standstill ${seconds(standstillMs)}`,
        `ffmpeg ${((await ffmpeg.playedS()) - playedS).toFixed(1)} s further`,
        `stall of ${unsteered.length} viewers p50 ${seconds(quantile(stalls, 0.5))} max ${seconds(Math.max(...stalls))}`,
      ]);
      await goesOn(tab);
      await stage.heal(victim.name);
    } finally {
      for (const viewer of unsteered) viewer.stop();
      await tab.close();
      await ffmpeg.stop();
    }
  });
});

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function table(rows: readonly Row[]): string {
  const head = `| event (${TABS} tabs, ${VIEWERS} light viewers, parts of ${PART_MS} ms) | to reach | measured |`;
  const lines = rows.map(({ event, toReach, measured }) => `| ${event} | ${toReach} | ${measured} |`);
  return ['', head, '| --- | --- | --- |', ...lines, ''].join('\n');
}
