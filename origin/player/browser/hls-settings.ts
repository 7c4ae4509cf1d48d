import type { HlsConfig } from 'hls.js';
import { LOW_LATENCY_LOAD_POLICIES } from './load-policy.ts';
import { PartDeadline } from './part-deadline.ts';
import { partLoader } from './part-loader.ts';

/** Who keeps the distance to the live edge: our own control, or hls.js with speeds up to 1.5, to compare with. */
export type LiveEdgeMode = 'own' | 'hls.js';

/** What CDNs and their logs are told with each request; what they could not act on would only make it longer. */
const CMCD_KEYS = ['sid', 'sf', 'st', 'ot', 'br', 'd', 'bl', 'mtp', 'bs', 'su'] as const;

/**
 * What hls.js is told for a stream whose buffer is a second long; everything else stays as it comes.
 *
 * @param bandwidthBps what to choose the first rung by
 * @param hasElsewhere whether there is another pathway to go to; asked again for every part
 */
export function hlsSettings(
  mode: LiveEdgeMode,
  bandwidthBps: number,
  hasElsewhere: () => boolean,
): Partial<HlsConfig> {
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
    fLoader: partLoader(new PartDeadline(), hasElsewhere),
    // In the query: a header would cost a preflight for every part from a CDN. Caches leave it out of their keys.
    cmcd: { useHeaders: false, includeKeys: [...CMCD_KEYS] },
    ...(mode === 'own' ? { liveSyncOnStallIncrease: 0 } : {}),
  };
}
