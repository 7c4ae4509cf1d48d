import type { HlsConfig } from 'hls.js';
import { LOW_LATENCY_LOAD_POLICIES } from './load-policy.ts';

/** Who keeps the distance to the live edge: our own control, or hls.js with speeds up to 1.5, to compare with. */
export type LiveEdgeMode = 'own' | 'hls.js';

/**
 * What hls.js is told for a stream whose buffer is a second long; everything else stays as it comes.
 *
 * @param bandwidthBps what to choose the first rung by
 */
export function hlsSettings(mode: LiveEdgeMode, bandwidthBps: number): Partial<HlsConfig> {
  return {
    ...LOW_LATENCY_LOAD_POLICIES,
    lowLatencyMode: true,
    maxLiveSyncPlaybackRate: mode === 'hls.js' ? 1.5 : 1,
    // What lies behind the playhead is the browser's to drop when its buffer is full, never hls.js'. When hls.js 1.7.4
    // removes media while a part is on its way into the buffer, it forgets the parts of that segment that it already has;
    // at the segment's end it then waits for them instead of loading the next segment's: 3.5 s without media.
    backBufferLength: Number.POSITIVE_INFINITY,
    abrEwmaDefaultEstimate: bandwidthBps,
    startFragPrefetch: true,
    // fMP4 passes through almost unchanged: a worker would cost more than it saves.
    enableWorker: false,
    ...(mode === 'own' ? { liveSyncOnStallIncrease: 0 } : {}),
  };
}
