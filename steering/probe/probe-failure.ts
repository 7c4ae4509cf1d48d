import { errors } from 'undici';
import type { ProbeReason, UnjudgedReason } from '#steering/probe/probe-sample.ts';
import { TargetRefusedError } from '#runtime/outbound/target-guard.ts';

/** A probe that could not go on, with the word for it. */
export class ProbeFailure extends Error {
  override readonly name = 'ProbeFailure';
  readonly code: ProbeReason;
  /** Bytes of the body that had come, when it failed in the body. */
  bodyBytes = 0;

  constructor(code: ProbeReason, options: { cause?: unknown } = {}) {
    super(code, options);
    this.code = code;
  }
}

/** A probe that ended without saying anything about the CDN. */
export class ProbeUnjudged extends Error {
  override readonly name = 'ProbeUnjudged';
  readonly code: UnjudgedReason;

  constructor(code: UnjudgedReason) {
    super(code);
    this.code = code;
  }
}

/** Where in a request something went wrong. */
export type FailedPhase = 'dns' | 'tcp' | 'tls' | 'headers' | 'body';

/**
 * Names what undici, the socket or the resolver threw.
 *
 * @throws {ProbeUnjudged} passed through
 */
export function toProbeFailure(error: unknown, phase: FailedPhase): ProbeFailure {
  if (error instanceof ProbeFailure) return error;
  if (error instanceof ProbeUnjudged) throw error;
  if (error instanceof TargetRefusedError)
    return new ProbeFailure(error.code === 'name_not_resolved' ? 'dns_failed' : 'target_refused', {
      cause: error,
    });
  return new ProbeFailure(reasonOf(error, phase), { cause: error });
}

function reasonOf(error: unknown, phase: FailedPhase): ProbeReason {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ECONNREFUSED') return 'connect_refused';
  if (error instanceof errors.HeadersOverflowError) return 'headers_too_large';
  if (error instanceof errors.ResponseExceededMaxSizeError) return 'body_too_large';
  switch (phase) {
    case 'dns':
      return 'dns_failed';
    case 'tcp':
      return code === 'ECONNRESET' ? 'reset' : 'connect_failed';
    case 'tls':
      return code === 'ECONNRESET' ? 'reset' : 'tls_failed';
    case 'headers':
      return 'reset';
    case 'body':
      return 'truncated';
  }
}
