import type { ErrorData } from 'hls.js';

/**
 * Why playback cannot go on, as far as it matters to the viewer.
 *
 * - `missing`: the server has no such playlist (any more)
 * - `network`: nothing comes back
 * - `busy`: the server answers, but that it cannot now
 * - `codec`: this browser cannot decode it
 * - `media`: what came could not be played
 * - `unsupported`: this browser has no Media Source Extensions at all
 */
export type PlaybackFailure = 'missing' | 'network' | 'busy' | 'codec' | 'media' | 'unsupported';

const CODEC_DETAILS: ReadonlySet<string> = new Set([
  'manifestIncompatibleCodecsError',
  'bufferAddCodecError',
  'bufferIncompatibleCodecsError',
]);

/** Sorts a fatal error of hls.js. */
export function classifyFailure(
  error: Pick<ErrorData, 'type' | 'details'> & { response?: { code?: number | undefined } | undefined },
): PlaybackFailure {
  if (CODEC_DETAILS.has(error.details)) return 'codec';
  if (error.type !== 'networkError') return 'media';
  const status = error.response?.code ?? 0;
  if (status === 404 || status === 410) return 'missing';
  if (status === 429 || status >= 500) return 'busy';
  return 'network';
}
