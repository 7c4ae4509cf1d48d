import type { HlsConfig } from 'hls.js';

/**
 * Settings of hls.js for a stream whose buffer is a second long: a server that hangs or fails must be noticed before the
 * buffer is empty. The values that hls.js comes with wait 10 s for a first byte and retry with whole seconds between;
 * with these a pathway that hangs is left after about 1.7 s, one that answers 503 after 0.3 s. Retries stay above zero:
 * without any, hls.js calls the first failed part fatal.
 */
export const LOW_LATENCY_LOAD_POLICIES: Pick<
  HlsConfig,
  'manifestLoadPolicy' | 'playlistLoadPolicy' | 'fragLoadPolicy'
> = {
  manifestLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 4_000,
      maxLoadTimeMs: 8_000,
      timeoutRetry: { maxNumRetry: 1, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 1, retryDelayMs: 200, maxRetryDelayMs: 200 },
    },
  },
  playlistLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 2_500,
      maxLoadTimeMs: 4_000,
      timeoutRetry: { maxNumRetry: 0, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 1, retryDelayMs: 150, maxRetryDelayMs: 150 },
    },
  },
  fragLoadPolicy: {
    default: {
      maxTimeToFirstByteMs: 2_500,
      maxLoadTimeMs: 8_000,
      timeoutRetry: { maxNumRetry: 1, retryDelayMs: 0, maxRetryDelayMs: 0 },
      errorRetry: { maxNumRetry: 3, retryDelayMs: 150, maxRetryDelayMs: 150 },
    },
  },
};
