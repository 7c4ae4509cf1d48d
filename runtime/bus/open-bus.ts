import type { Bus } from '#runtime/bus/bus.ts';
import { MemoryBus } from '#runtime/bus/memory-bus.ts';
import { RedisBus, type RedisBusDeps } from '#runtime/bus/redis-bus.ts';
import { parseRedisUrl } from '#runtime/bus/redis-client.ts';

/**
 * The bus of a node: over Redis when a URL is given (see {@link parseRedisUrl}), else one that reaches nobody else.
 *
 * @throws {RedisUrlError} for a URL that names no Redis; a Redis that is away is no failure
 */
export async function openBus(redisUrl: string | undefined, deps: RedisBusDeps): Promise<Bus> {
  return redisUrl === undefined ? new MemoryBus() : RedisBus.open(parseRedisUrl(redisUrl), deps);
}
