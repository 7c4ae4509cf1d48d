import { PUBLISH_ERROR_CODES } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';

/** What an ingest is answered when it may not go on; the codes are part of the contract with it. */

export function streamKeyUnknown(): ProblemError {
  return new ProblemError(403, PUBLISH_ERROR_CODES.streamKeyUnknown, 'No stream has this key.');
}

export function tooManyAttempts(retryAfterS: number): ProblemError {
  return new ProblemError(
    429,
    PUBLISH_ERROR_CODES.tooManyAttempts,
    'Too many unknown stream keys came from this address.',
    { headers: { 'retry-after': String(retryAfterS) } },
  );
}

export function streamBusy(): ProblemError {
  return new ProblemError(
    409,
    PUBLISH_ERROR_CODES.streamBusy,
    'Somebody publishes this stream; a publisher that has gone is noticed within 3 s.',
  );
}

export function sessionEnded(): ProblemError {
  return new ProblemError(
    410,
    PUBLISH_ERROR_CODES.sessionEnded,
    'This publish session has ended: its key was changed, its stream deleted, or its heartbeats were missed.',
  );
}

export function fencingTokenStale(): ProblemError {
  return new ProblemError(
    409,
    PUBLISH_ERROR_CODES.fencingTokenStale,
    'This is not the fencing token of the session; stop writing.',
  );
}

export function sessionNotFound(streamId: string): ProblemError {
  return new ProblemError(404, 'session_not_found', `Stream ${streamId} has no such session.`);
}

export function anchorImplausible(skewMs: number): ProblemError {
  return new ProblemError(
    422,
    'anchor_implausible',
    'The clocks of the ingest and of the origin are more than an hour apart.',
    { fields: [{ field: 'anchorUtcMs', message: `is ${skewMs} ms from the origin's clock` }] },
  );
}
