import type { Browser } from 'playwright-core';
import { mediaPlaylistUris, readMultivariantPlaylist } from '#bench/hls/multivariant-playlist.ts';
import { stagesOf } from '#bench/latency/cpu-stages.ts';
import type { LatencyOptions, PlayerMode } from '#bench/latency/options.ts';
import { PartWatch, type PartAvailability } from '#bench/latency/part-availability.ts';
import {
  BARE_PROBE,
  OWN_PROBE,
  measureFirstPicture,
  runPlayer,
  type PlayerRun,
} from '#bench/latency/player-run.ts';
import { CpuMeter, type StageCpu } from '#bench/machine/cpu-meter.ts';
import { machineCpuTicks } from '#bench/machine/machine.ts';
import { startBroadcaster, type Broadcaster } from '#bench/source/broadcaster.ts';
import type { BarePageServer } from '#bench/browser/bare-page.ts';
import type { StreamApi } from '#bench/system/stream-api.ts';
import type { SystemProcess } from '#bench/system/system-process.ts';

/** A player's figures with what the machine did meanwhile. */
export type MeasuredPlayer = {
  readonly mode: PlayerMode;
  readonly run: PlayerRun;
  /** Opening the page → first picture, one value per fresh load. */
  readonly firstPictureMs: readonly number[];
  readonly cpu: readonly StageCpu[];
  /** CPU that others used on this machine, percent of one core. */
  readonly foreignCpuPercent: number;
};

/** The whole chain with one part length: raw values. */
export type ChainRun = {
  readonly partDurationMs: number;
  readonly playlistHeader: readonly string[];
  readonly players: readonly MeasuredPlayer[];
  readonly parts: readonly PartAvailability[];
  /** Renditions that did not run through without a break, and why. */
  readonly problems: readonly string[];
  /** Drawing → leaving the publisher's encoder, per frame. */
  readonly publisherDelayMs: readonly number[];
  /** Frames that the broadcaster drew late: the machine was too busy. */
  readonly lateFrames: number;
};

/** What a run needs; all of it is started and ended by the caller. */
export type ChainDeps = {
  readonly system: SystemProcess;
  readonly api: StreamApi;
  readonly browser: Browser;
  readonly barePage: BarePageServer;
  readonly log: (line: string) => void;
};

const FRAME_RATE = 30;
const PLAYLIST_DEADLINE_MS = 20_000;

/** Publishes one stream with the given part length and measures it with every player, one after the other. */
export async function measureChain(
  partDurationMs: number,
  options: LatencyOptions,
  deps: ChainDeps,
): Promise<ChainRun> {
  const stream = await deps.api.create({ name: `bench ${partDurationMs} ms`, partDurationMs });
  const broadcaster = await startBroadcaster({
    rtmpUrl: `${deps.system.rtmpUrl}/${stream.streamKey}`,
    width: 1280,
    height: 720,
    frameRate: FRAME_RATE,
    videoBitrateBps: 4_000_000,
    preset: options.publisherPreset,
    gopSeconds: 2,
  });
  const failed = broadcaster.ended.then(({ code, stderr }) => {
    throw new Error(`the broadcaster ended with ${code}: ${stderr}`);
  });
  failed.catch(() => undefined);
  try {
    const uris = await Promise.race([mediaPlaylistsOf(stream.playlistUrl), failed]);
    deps.log(`${partDurationMs} ms parts: live with ${uris.length} media playlists`);
    const watches = uris.map((uri) => new PartWatch(uri));
    const players: MeasuredPlayer[] = [];
    for (const mode of options.modes) {
      const url =
        mode === 'own'
          ? `${deps.system.originUrl}/watch/${stream.id}`
          : deps.barePage.pageUrl(stream.playlistUrl, { lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.5 });
      players.push(await Promise.race([measurePlayer(mode, url, broadcaster, options, deps), failed]));
    }
    const parts = await Promise.all(watches.map((watch) => watch.stop(broadcaster.frames, FRAME_RATE)));
    return {
      partDurationMs,
      playlistHeader: await playlistHeader(uris[0] ?? ''),
      players,
      parts: parts.flat(),
      problems: watches.flatMap(({ rendition, problem }) =>
        problem === undefined ? [] : [`${rendition}: ${problem}`],
      ),
      publisherDelayMs: broadcaster.frames.map(({ drawnAtMs, sentAtMs }) => sentAtMs - drawnAtMs),
      lateFrames: broadcaster.lateFrames(),
    };
  } finally {
    await broadcaster.stop();
    await deps.api.call('DELETE', `/api/v1/streams/${stream.id}`, 204);
  }
}

async function measurePlayer(
  mode: PlayerMode,
  url: string,
  broadcaster: Broadcaster,
  options: LatencyOptions,
  deps: ChainDeps,
): Promise<MeasuredPlayer> {
  const firstPictureMs: number[] = [];
  for (let load = 0; load < options.loads; load++)
    firstPictureMs.push(await measureFirstPicture(deps.browser, url));
  deps.log(`  ${mode}: first pictures after ${firstPictureMs.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  let meter: CpuMeter | undefined;
  let ticks = machineCpuTicks();
  let startMs = 0;
  const run = await runPlayer(deps.browser, url, mode === 'own' ? OWN_PROBE : BARE_PROBE, options, () => {
    ticks = machineCpuTicks();
    startMs = performance.now();
    meter = new CpuMeter(
      [process.pid],
      stagesOf({
        benchPid: process.pid,
        systemPid: deps.system.pid,
        broadcasterPid: broadcaster.pid,
        broadcasterFfmpegPid: broadcaster.ffmpegPid,
      }),
    );
  });
  const cpu = meter?.stop() ?? [];
  const busyMs = (machineCpuTicks().busy - ticks.busy) * 10;
  const ours = cpu.reduce((sum, { cpuPercent }) => sum + cpuPercent, 0);
  const foreignCpuPercent = Math.max(0, (100 * busyMs) / (performance.now() - startMs) - ours);
  return { mode, run, firstPictureMs, cpu, foreignCpuPercent };
}

/** Waits until the stream plays. @throws when it does not within 20 s */
async function mediaPlaylistsOf(masterUrl: string): Promise<string[]> {
  const endMs = performance.now() + PLAYLIST_DEADLINE_MS;
  for (;;) {
    const response = await fetch(masterUrl);
    const text = await response.text();
    if (response.status === 200)
      return mediaPlaylistUris(readMultivariantPlaylist(text)).map((uri) => new URL(uri, masterUrl).href);
    if (performance.now() > endMs)
      throw new Error(`${masterUrl} is still answered ${response.status}: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The lines that hold for the whole stream: with them a reader of the results can see what was really measured. */
async function playlistHeader(url: string): Promise<string[]> {
  const text = await (await fetch(url)).text();
  return text.split('\n').filter((line) => /^#EXT-X-(TARGETDURATION|PART-INF|SERVER-CONTROL)/.test(line));
}
