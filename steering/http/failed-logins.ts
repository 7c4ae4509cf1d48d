import { Counter, Gauge } from 'prom-client';
import type { Clock } from '#runtime/clock.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { RecentMap } from '#steering/qoe/recent-map.ts';
import { voiceOf } from '#steering/qoe/viewer-place.ts';

/** Tokens that one address may present in vain at once, and how long each takes to be forgiven, ms. */
export const FAILED_LOGINS_AT_ONCE_MAX = 20;
export const FAILED_LOGIN_FORGIVEN_MS = 6_000;
/** Addresses of which failures are remembered; the one unheard of for longest goes first. */
export const FAILED_ADDRESSES_MAX = 10_000;

/**
 * Lets each address present only so many wrong tokens: {@link FAILED_LOGINS_AT_ONCE_MAX} at once, then one every
 * {@link FAILED_LOGIN_FORGIVEN_MS}. An address is an IPv4 address or an IPv6 /56. Beyond that its tokens are not looked
 * at, right ones included: an answer that told them apart would let the guessing go on.
 */
export class FailedLogins {
  readonly #clock: Clock;
  readonly #spent = new RecentMap<string, { readonly failures: number; readonly atMs: number }>(
    FAILED_ADDRESSES_MAX,
  );
  readonly #failures: Counter;
  readonly #refused: Counter;

  constructor(deps: { readonly clock: Clock; readonly metrics: Metrics }) {
    this.#clock = deps.clock;
    const registers = [deps.metrics];
    this.#failures = new Counter({
      name: 'steering_login_failures_total',
      help: 'Tokens presented to the ops API that are not valid.',
      registers,
    });
    this.#refused = new Counter({
      name: 'steering_logins_refused_total',
      help: 'Requests to the ops API whose token was not looked at, after too many failures of their address.',
      registers,
    });
    const spent = this.#spent;
    new Gauge({
      name: 'steering_login_addresses',
      help: `Addresses whose failed logins are remembered, at most ${FAILED_ADDRESSES_MAX}.`,
      registers,
      collect() {
        this.set(spent.size);
      },
    });
  }

  /**
   * To be asked before a token is looked at.
   *
   * @throws {ProblemError} 429 `too_many_failed_logins` with Retry-After
   */
  check(address: string | undefined): void {
    const failures = this.#failuresOf(voiceOf(address));
    if (failures <= FAILED_LOGINS_AT_ONCE_MAX - 1) return;
    this.#refused.inc();
    const waitMs = (failures - (FAILED_LOGINS_AT_ONCE_MAX - 1)) * FAILED_LOGIN_FORGIVEN_MS;
    throw new ProblemError(
      429,
      'too_many_failed_logins',
      'Too many wrong tokens came from this address. Wait before the next one.',
      { headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1_000))) } },
    );
  }

  /** Notes that a token was wrong. */
  failed(address: string | undefined): void {
    this.#failures.inc();
    const voice = voiceOf(address);
    const failures = this.#failuresOf(voice) + 1;
    this.#spent.set(voice, { failures, atMs: this.#clock.monotonicMs() });
  }

  get size(): number {
    return this.#spent.size;
  }

  #failuresOf(voice: string): number {
    const spent = this.#spent.get(voice);
    if (spent === undefined) return 0;
    const forgiven = (this.#clock.monotonicMs() - spent.atMs) / FAILED_LOGIN_FORGIVEN_MS;
    return Math.max(0, spent.failures - forgiven);
  }
}
