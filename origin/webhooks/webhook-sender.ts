import { Client } from 'undici';
import type { LookupFunction } from 'node:net';
import type { Clock } from '#runtime/clock.ts';
import {
  TargetRefusedError,
  type PinnedAddress,
  type ResolveName,
  type TargetGuard,
} from '#runtime/outbound/target-guard.ts';
import type { AttemptOutcome, ClaimedDelivery } from '#origin/webhooks/deliveries-table.ts';
import { signatureHeaders } from '#origin/webhooks/webhook-signature.ts';

/** Longest an attempt may take, from looking up the name to the end of the answer. */
export const ATTEMPT_DEADLINE_MS = 10_000;
/** Of an answer's body so much is read, so that the receiver sees it taken; nothing of it is looked at. */
const ANSWER_BYTES_MAX = 16 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;

export type WebhookSenderDeps = {
  readonly clock: Clock;
  readonly guard: TargetGuard;
  readonly resolve: ResolveName;
};

/** Sends one event to one webhook: signed, to the address that was judged and no other, without following redirects. */
export class WebhookSender {
  readonly #deps: WebhookSenderDeps;

  constructor(deps: WebhookSenderDeps) {
    this.#deps = deps;
  }

  /** Never rejects: what goes wrong is the outcome. @param signal ends the attempt, as `aborted` */
  async send(delivery: ClaimedDelivery, signal: AbortSignal): Promise<AttemptOutcome> {
    const { clock, guard, resolve } = this.#deps;
    const late = new AbortController();
    const timer = clock.after(ATTEMPT_DEADLINE_MS, () => late.abort());
    const until = AbortSignal.any([signal, late.signal]);
    try {
      const url = guard.checkUrl(delivery.url);
      const pinned = await guard.pin(url, resolve, until, delivery.attempt);
      const status = await this.#post(url, pinned, delivery, until);
      return { status, error: status >= 200 && status < 300 ? null : `status_${status}` };
    } catch (error) {
      if (signal.aborted) return { status: null, error: 'aborted' };
      if (late.signal.aborted) return { status: null, error: 'timeout' };
      if (error instanceof TargetRefusedError) return { status: null, error: error.code };
      return { status: null, error: toWord(error) };
    } finally {
      timer.cancel();
    }
  }

  async #post(
    url: URL,
    pinned: PinnedAddress,
    { secret, eventId, body }: ClaimedDelivery,
    signal: AbortSignal,
  ): Promise<number> {
    const client = new Client(url.origin, {
      connect: { lookup: alwaysTo(pinned), timeout: ATTEMPT_DEADLINE_MS },
      pipelining: 1,
      allowH2: false,
      maxHeaderSize: HEADER_BYTES_MAX,
    });
    try {
      const timestampS = Math.floor(this.#deps.clock.nowMs() / 1_000);
      const answer = await client.request({
        method: 'POST',
        path: url.pathname + url.search,
        headers: {
          'content-type': 'application/json',
          'user-agent': 'livehls-webhooks',
          ...signatureHeaders(secret, eventId, timestampS, body),
        },
        body,
        signal,
      });
      await answer.body.dump({ limit: ANSWER_BYTES_MAX, signal });
      return answer.statusCode;
    } finally {
      await client.destroy();
    }
  }
}

/** Names are resolved once, by the guard; the connection goes there. */
function alwaysTo({ address, family }: PinnedAddress): LookupFunction {
  return (_hostname, options, callback) =>
    options.all === true ? callback(null, [{ address, family }]) : callback(null, address, family);
}

function toWord(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ECONNREFUSED') return 'connect_refused';
  if (typeof code === 'string' && /^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code))
    return 'tls_failed';
  return 'connection_failed';
}
