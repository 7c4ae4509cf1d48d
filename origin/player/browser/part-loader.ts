import Hls, {
  type FragmentLoaderConstructor,
  type FragmentLoaderContext,
  type HlsConfig,
  type Loader,
  type LoaderCallbacks,
  type LoaderConfiguration,
} from 'hls.js';
import type { PartDeadline } from './part-deadline.ts';

/**
 * A loader for hls.js that gives parts their own time limit while `limited` says so. The load policy cannot: it has one limit for
 * parts and for segments, which are many times as long.
 */
export function partLoader(deadline: PartDeadline, limited: () => boolean): FragmentLoaderConstructor {
  const Base = Hls.DefaultConfig.loader as unknown as new (
    config: HlsConfig,
  ) => Loader<FragmentLoaderContext>;
  return class extends Base {
    override load(
      context: FragmentLoaderContext,
      config: LoaderConfiguration,
      callbacks: LoaderCallbacks<FragmentLoaderContext>,
    ): void {
      const { part } = context;
      if (part === null || !limited()) {
        super.load(context, config, callbacks);
        return;
      }
      const limitMs = deadline.limitMs(part.duration, performance.now());
      const loadPolicy = {
        ...config.loadPolicy,
        maxTimeToFirstByteMs: Math.min(limitMs, config.loadPolicy.maxTimeToFirstByteMs),
        maxLoadTimeMs: Math.min(limitMs, config.loadPolicy.maxLoadTimeMs),
      };
      const onTimeout: typeof callbacks.onTimeout = (stats, late, details) => {
        deadline.timedOut(performance.now());
        callbacks.onTimeout(stats, late, details);
      };
      super.load(context, { ...config, loadPolicy, timeout: limitMs }, { ...callbacks, onTimeout });
    }
  };
}
