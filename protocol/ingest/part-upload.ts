import { ORIGIN_URL_PATTERN } from '#protocol/ingest/publish-session.ts';

/**
 * The media half of the contract between a transcoder and an origin: one `PUT` per part, in order within a rendition,
 * idempotent, over keep-alive connections.
 *
 * `PUT /ingest/v1/{streamId}/{renditionId}/init-{timeline}.mp4` — the init segment, before the first part of a timeline.
 * `PUT /ingest/v1/{streamId}/{renditionId}/{msn}.{part}.m4s` — one moof+mdat, or no body at all with `part-gap`.
 *
 * Answers: 201 taken, 200 the same bytes were taken before or another pipeline's copy is listed already, 400 malformed,
 * 401, 404 no such session or rendition, 409 `fencing_token_stale`, `timeline_stale`, `part_conflict`, `init_mismatch` or
 * `pipelines_exhausted`, 410 `session_ended`, 413, 422 `part_invalid`.
 *
 * Two encoders may write the same timeline as a warm pair: same session, same token, same grid, each with a pipeline id
 * of its own. The origin lists the first valid copy of each part. Of every rendition, all pipelines put the same init
 * segment, byte for byte; one whose init segment differs (`init_mismatch`) is not used in this timeline and must stop.
 */
export const UPLOAD_HEADERS = {
  session: 'publish-session',
  fencingToken: 'publish-fencing-token',
  timeline: 'publish-timeline',
  /** Which of the session's encoders writes; left out when there is only one. */
  pipeline: 'publish-pipeline',
  /** Ticks from media time 0 of the timeline to the first sample, in the rendition's timescale. */
  startTicks: 'part-start',
  /** Ticks, in the rendition's timescale. */
  durationTicks: 'part-duration',
  /** `1` when the first sample is a sync sample. */
  independent: 'part-independent',
  /** `1` on the last part of its segment. */
  last: 'part-last',
  /** `1` when the part does not exist and its place is to be listed with GAP=YES. */
  gap: 'part-gap',
  /** Wall clock, ms since the Unix epoch, at which the last frame of the part reached the ingest. */
  arrivalUtcMs: 'part-arrival',
  /** `sha-256=:{base64}:` of the body. @spec RFC 9530 §2 */
  digest: 'content-digest',
} as const;

/**
 * Header of every answer to an upload where several origins share the streams: a number that grows with each change, and
 * the origins that are to get the parts from now on, as {@link HoldersNote} says.
 */
export const HOLDERS_HEADER = 'publish-origins';

/** Which origins hold a stream. A note with a lower version than one that was seen is old news. */
export type HoldersNote = { readonly version: number; readonly origins: readonly string[] };

/** `{version} {url} {url}…` */
export function formatHoldersNote({ version, origins }: HoldersNote): string {
  return [version, ...origins].join(' ');
}

/** Reads {@link HOLDERS_HEADER}; undefined when it is missing or not what it must be. */
export function parseHoldersNote(header: string | undefined): HoldersNote | undefined {
  const match = /^(\d{1,15})((?: \S{1,256}){1,8})$/.exec(header ?? '');
  const origins = match?.[2]?.trim().split(' ') ?? [];
  if (match === null || !origins.every((url) => ORIGIN_URL_PATTERN.test(url))) return undefined;
  return { version: Number(match[1]), origins };
}

/** Most bytes of one part, and of one init segment. */
export const PART_BYTES_MAX = 8 * 1024 * 1024;
export const INIT_BYTES_MAX = 64 * 1024;

/** The pipeline of an upload that names none. */
export const DEFAULT_PIPELINE = 'only';
export const PIPELINE_PATTERN = /^[a-z0-9_-]{1,32}$/;

/** What the headers of a part upload say. */
export type PartUpload = {
  readonly sessionId: string;
  readonly fencingToken: number;
  readonly timeline: number;
  /** {@link DEFAULT_PIPELINE} when it is left out. */
  readonly pipeline?: string;
  readonly msn: number;
  readonly part: number;
  readonly startTicks: number;
  readonly durationTicks: number;
  readonly independent: boolean;
  readonly last: boolean;
  readonly gap: boolean;
  readonly arrivalUtcMs: number;
};

/** A header that is missing or not what it must be. */
export class UploadHeaderError extends Error {
  readonly code = 'upload_header_invalid';
  override readonly name = 'UploadHeaderError';
}

/** The headers of an upload, ready to be sent. */
export function toUploadHeaders(upload: Omit<PartUpload, 'msn' | 'part'>): Record<string, string> {
  return {
    [UPLOAD_HEADERS.session]: upload.sessionId,
    [UPLOAD_HEADERS.fencingToken]: String(upload.fencingToken),
    [UPLOAD_HEADERS.timeline]: String(upload.timeline),
    ...(upload.pipeline === undefined ? {} : { [UPLOAD_HEADERS.pipeline]: upload.pipeline }),
    [UPLOAD_HEADERS.startTicks]: String(upload.startTicks),
    [UPLOAD_HEADERS.durationTicks]: String(upload.durationTicks),
    [UPLOAD_HEADERS.independent]: upload.independent ? '1' : '0',
    [UPLOAD_HEADERS.last]: upload.last ? '1' : '0',
    [UPLOAD_HEADERS.gap]: upload.gap ? '1' : '0',
    [UPLOAD_HEADERS.arrivalUtcMs]: String(upload.arrivalUtcMs),
  };
}

/**
 * Reads the headers of a part upload.
 *
 * @param header looks a header up by its lower-case name
 * @throws {UploadHeaderError} naming the header and what was expected
 */
export function fromUploadHeaders(
  header: (name: string) => string | undefined,
): Omit<PartUpload, 'msn' | 'part'> {
  const integer = (name: string): number => {
    const value = header(name);
    if (value === undefined || !/^\d{1,15}$/.test(value))
      throw new UploadHeaderError(`${name}: expected a whole number of at most 15 digits`);
    return Number(value);
  };
  const flag = (name: string): boolean => {
    const value = header(name);
    if (value !== '0' && value !== '1') throw new UploadHeaderError(`${name}: expected 0 or 1`);
    return value === '1';
  };
  const sessionId = header(UPLOAD_HEADERS.session);
  if (sessionId === undefined || !/^[0-9a-f-]{36}$/.test(sessionId))
    throw new UploadHeaderError(`${UPLOAD_HEADERS.session}: expected a publish session id`);
  const pipeline = header(UPLOAD_HEADERS.pipeline);
  if (pipeline !== undefined && !PIPELINE_PATTERN.test(pipeline))
    throw new UploadHeaderError(
      `${UPLOAD_HEADERS.pipeline}: expected 1 to 32 small letters, digits, "_" and "-"`,
    );
  return {
    sessionId,
    fencingToken: integer(UPLOAD_HEADERS.fencingToken),
    timeline: integer(UPLOAD_HEADERS.timeline),
    ...(pipeline === undefined ? {} : { pipeline }),
    startTicks: integer(UPLOAD_HEADERS.startTicks),
    durationTicks: integer(UPLOAD_HEADERS.durationTicks),
    independent: flag(UPLOAD_HEADERS.independent),
    last: flag(UPLOAD_HEADERS.last),
    gap: flag(UPLOAD_HEADERS.gap),
    arrivalUtcMs: integer(UPLOAD_HEADERS.arrivalUtcMs),
  };
}
