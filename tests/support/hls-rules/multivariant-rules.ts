import type { AlternativeRendition, Variant } from '#bench/hls/multivariant-playlist.ts';
import { segmentsOf } from '#tests/support/hls-rules/peer-rules.ts';
import type { Violations } from '#tests/support/hls-rules/violation.ts';
import type { RecordedRun } from '#tests/support/recorded-run.ts';

/** How far the measured peak may lie above the declared one: the next segment is always a new one. */
const PEAK_TOLERANCE = 1.1;

/** @spec rfc8216bis §4.4.6 */
export function checkMultivariant(run: RecordedRun, found: Violations): void {
  const { variants, renditions, independentSegments } = run.multivariant;
  found.expect(independentSegments, 'independent_segments', run.url, 'EXT-X-INDEPENDENT-SEGMENTS is missing');
  found.expect(variants.length > 0, 'variants', run.url, 'no variant');
  for (const variant of variants) {
    checkVariant(variant, run, found);
    const group = renditions.filter(({ groupId }) => groupId === variant.audioGroup);
    if (variant.audioGroup !== undefined)
      found.expect(
        group.length > 0,
        'audio_group',
        run.url,
        `${variant.uri} names the group ${variant.audioGroup} that is not there`,
      );
    checkBandwidth(variant, group, run, found);
  }
  for (const rendition of renditions)
    found.expect(
      rendition.stableId !== undefined,
      'stable_ids',
      run.url,
      `${rendition.name} has no STABLE-RENDITION-ID`,
    );
}

function checkVariant(variant: Variant, run: RecordedRun, found: Violations): void {
  const where = `${run.url} (${variant.uri})`;
  const video = variant.codecs.some((codec) => /^(avc|hvc|hev|av01)/.test(codec));
  found.expect(variant.codecs.length > 0, 'codecs', where, 'no CODECS');
  found.expect(variant.stableId !== undefined, 'stable_ids', where, 'no STABLE-VARIANT-ID');
  found.expect(
    variant.averageBandwidthBps !== undefined && variant.averageBandwidthBps <= variant.bandwidthBps,
    'average_bandwidth',
    where,
    `AVERAGE-BANDWIDTH ${variant.averageBandwidthBps}, BANDWIDTH ${variant.bandwidthBps}`,
  );
  if (!video) return;
  found.expect(
    variant.width !== undefined && variant.height !== undefined,
    'resolution',
    where,
    'video without RESOLUTION',
  );
  found.expect(variant.frameRate !== undefined, 'frame_rate', where, 'video without FRAME-RATE');
  if (variant.audioGroup !== undefined)
    found.expect(
      variant.codecs.some((codec) => /^(mp4a|opus)/i.test(codec)),
      'codecs',
      where,
      'CODECS says nothing of the sound',
    );
}

/** BANDWIDTH covers the largest segment of the variant together with its audio. @spec rfc8216bis §4.4.6.2 */
function checkBandwidth(
  variant: Variant,
  group: readonly AlternativeRendition[],
  run: RecordedRun,
  found: Violations,
): void {
  const own = peakBps(variant.uri, run);
  const audio = Math.max(
    0,
    ...group.map(({ uri }) => (uri === undefined || uri === variant.uri ? 0 : peakBps(uri, run))),
  );
  found.expect(own > 0, 'bandwidth', run.url, `no whole segment of ${variant.uri} was fetched`);
  found.expect(
    own + audio <= PEAK_TOLERANCE * variant.bandwidthBps,
    'bandwidth',
    run.url,
    `${variant.uri} peaks at ${Math.round(own + audio)} b/s, BANDWIDTH is ${variant.bandwidthBps}`,
  );
}

function peakBps(uri: string, run: RecordedRun): number {
  const url = new URL(uri, run.url).href;
  const rendition = run.renditions.find((recorded) => recorded.url === url);
  if (rendition === undefined) return 0;
  const sizes = new Map(rendition.resources.map((resource) => [resource.url, resource.body.length]));
  const rates = segmentsOf(rendition).map(({ uri: segmentUri = '', durationS }) => {
    const bytes = sizes.get(new URL(segmentUri, url).href) ?? 0;
    // The short rest before a discontinuity says nothing of the rate. @spec rfc8216bis §4.1 (0.5 to 1.5 × TD)
    return durationS === undefined || durationS < 1 ? 0 : (bytes * 8) / durationS;
  });
  return Math.max(0, ...rates);
}
