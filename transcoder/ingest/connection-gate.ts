import type { Clock } from '#runtime/clock.ts';

export type ConnectionGateLimits = {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** Per second; a burst of as many is allowed. */
  readonly connectionRateMax: number;
  readonly connectionRatePerAddressMax: number;
};

/** The limit that a new connection would break. */
export type GateRefusal = 'connections' | 'connections_per_address' | 'rate' | 'rate_per_address';

type AddressState = { open: number; readonly bucket: TokenBucket };

/** Most addresses without a connection that are remembered. */
const IDLE_ADDRESSES_KEPT = 4_096;

/** Decides which new connections are taken: so many in all and per address, and so fast. */
export class ConnectionGate {
  readonly #limits: ConnectionGateLimits;
  readonly #clock: Clock;
  readonly #addresses = new Map<string, AddressState>();
  readonly #bucket: TokenBucket;
  #open = 0;

  constructor(limits: ConnectionGateLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#bucket = new TokenBucket(limits.connectionRateMax, clock);
  }

  get open(): number {
    return this.#open;
  }

  /** Addresses remembered. */
  get addressCount(): number {
    return this.#addresses.size;
  }

  /**
   * Takes or refuses a connection. One that is taken must be given back with {@link release}.
   *
   * @returns undefined when it is taken
   */
  admit(remoteAddress: string): GateRefusal | undefined {
    const key = addressKey(remoteAddress);
    if (this.#open >= this.#limits.connectionsMax) return 'connections';
    const state = this.#addresses.get(key) ?? this.#remember(key);
    if (state.open >= this.#limits.connectionsPerAddressMax) return 'connections_per_address';
    // The address first: one that floods must not use up what all have together.
    if (!state.bucket.take()) return 'rate_per_address';
    if (!this.#bucket.take()) return 'rate';
    state.open++;
    this.#open++;
    return undefined;
  }

  /** Gives back a connection that was taken. */
  release(remoteAddress: string): void {
    const state = this.#addresses.get(addressKey(remoteAddress));
    if (state === undefined || state.open === 0) throw new Error('released a connection that was not taken');
    state.open--;
    this.#open--;
  }

  #remember(key: string): AddressState {
    if (this.#addresses.size >= IDLE_ADDRESSES_KEPT + this.#open) this.#forgetIdle();
    const state = { open: 0, bucket: new TokenBucket(this.#limits.connectionRatePerAddressMax, this.#clock) };
    this.#addresses.set(key, state);
    return state;
  }

  #forgetIdle(): void {
    for (const [key, state] of this.#addresses)
      if (state.open === 0 && state.bucket.isFull) this.#addresses.delete(key);
    // A flood from ever new addresses: forgetting old idle ones costs it nothing more than it has already. Half of them
    // at a time, so that not every new connection has to look through all.
    for (const [key, state] of this.#addresses) {
      if (this.#addresses.size <= IDLE_ADDRESSES_KEPT / 2 + this.#open) return;
      if (state.open === 0) this.#addresses.delete(key);
    }
  }
}

/** As many per second as its size, and at most its size at once. */
class TokenBucket {
  readonly #size: number;
  readonly #clock: Clock;
  #tokens: number;
  #updatedMs: number;

  constructor(size: number, clock: Clock) {
    this.#size = size;
    this.#clock = clock;
    this.#tokens = size;
    this.#updatedMs = clock.monotonicMs();
  }

  get isFull(): boolean {
    this.#refill();
    return this.#tokens >= this.#size;
  }

  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#size, this.#tokens + ((nowMs - this.#updatedMs) * this.#size) / 1_000);
    this.#updatedMs = nowMs;
  }
}

/** One IPv6 host has a whole /64 to choose addresses from, so that is what counts as one address. */
export function addressKey(remoteAddress: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!remoteAddress.includes(':')) return remoteAddress;
  const [head = '', tail] = (remoteAddress.split('%')[0] ?? '').split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const tailGroups = tail === '' ? [] : tail.split(':');
    while (groups.length + tailGroups.length < 8) groups.push('0');
    groups.push(...tailGroups);
  }
  return groups.slice(0, 4).join(':');
}
