import { lookup, Resolver } from 'node:dns/promises';
import type { Clock } from '#runtime/clock.ts';
import { TargetRefusedError, type ResolveName } from '#runtime/outbound/target-guard.ts';

/** How long an answer is used again. Short, so that traffic management by DNS is seen. */
const CACHE_MS = 20_000;
/** Names remembered at once; the oldest goes first. */
export const CACHED_NAMES_MAX = 256;
/** Names asked of the system's own resolver at once: it blocks a thread of the pool for each. */
const SYSTEM_LOOKUPS_MAX = 2;

/**
 * Builds a resolver that asks DNS directly, so that a dead name server costs a time-out and not a thread of the pool,
 * and falls back to the system's resolver (hosts file, search domains) for names DNS does not know.
 *
 * @param deps.servers name servers to ask instead of the system's, `address:port`
 */
export function createNameResolver(deps: {
  readonly clock: Clock;
  readonly servers?: readonly string[];
}): ResolveName {
  const cache = new Map<string, { addresses: readonly string[]; untilMs: number }>();
  let systemLookups = 0;

  const resolveUncached = async (hostname: string, signal: AbortSignal): Promise<readonly string[]> => {
    const resolver = new Resolver({ timeout: 700, tries: 2 });
    if (deps.servers !== undefined) resolver.setServers(deps.servers);
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      const [v4, v6] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
      signal.throwIfAborted();
      const addresses = [v4, v6].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
      if (addresses.length > 0) return addresses;
      if (systemLookups >= SYSTEM_LOOKUPS_MAX) return [];
      systemLookups++;
      try {
        return (await lookup(hostname, { all: true })).map(({ address }) => address);
      } finally {
        systemLookups--;
      }
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  };

  return async (hostname, signal) => {
    const nowMs = deps.clock.monotonicMs();
    const cached = cache.get(hostname);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.addresses;
    const addresses = await resolveUncached(hostname, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new TargetRefusedError('name_not_resolved', `cannot resolve: ${(error as Error).message}`);
    });
    if (addresses.length === 0)
      throw new TargetRefusedError('name_not_resolved', 'the target has no address');
    cache.delete(hostname);
    cache.set(hostname, { addresses, untilMs: nowMs + CACHE_MS });
    for (const oldest of cache.keys()) {
      if (cache.size <= CACHED_NAMES_MAX) break;
      cache.delete(oldest);
    }
    return addresses;
  };
}
