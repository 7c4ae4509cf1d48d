import { decodeCmcd, fromCmcdHeaders, fromCmcdQuery } from '@svta/cml-cmcd';
import { z } from 'zod';
import type { PlaybackObservation } from '#steering/qoe/observation.ts';

/** Most characters of a session id, and of one line of either kind. */
export const CMCD_SESSION_CHARS_MAX = 128;
export const CMCD_LINE_CHARS_MAX = 4_096;

/** What one report says, before it is known whose CDN it speaks of. */
export type CmcdReport = {
  readonly sessionId: string;
  /** Counts the reports of a session, so that one sent twice is known. @spec CTA-5004-B, key `sn` */
  readonly sequence: number | undefined;
  /** The `cdn` key, else `undefined`. */
  readonly cdn: string | undefined;
  /** Host that was asked for: the key `h`, or of the URL of a response. */
  readonly host: string | undefined;
} & Pick<PlaybackObservation, 'value' | 'aboutThePast'>;

/** Why a line was not a report that can be used. */
export class CmcdLineError extends Error {
  override readonly name = 'CmcdLineError';
  readonly code: 'line_invalid' | 'no_session' | 'says_nothing';

  constructor(code: CmcdLineError['code'], message: string = code) {
    super(message);
    this.code = code;
  }
}

/** What is read of CMCD; everything else is not looked at. Types are the sender's and therefore checked. */
const Keys = z.object({
  sid: z.string().min(1).max(CMCD_SESSION_CHARS_MAX).optional(),
  sn: z.number().int().min(0).optional().catch(undefined),
  cdn: z.string().max(64).optional().catch(undefined),
  h: z.string().max(253).optional().catch(undefined),
  url: z.string().max(2_048).optional().catch(undefined),
  e: z.string().max(8).optional().catch(undefined),
  sta: z.string().max(4).optional().catch(undefined),
  rc: z.number().optional().catch(undefined),
  ttfb: z.number().optional().catch(undefined),
  bs: z.boolean().optional().catch(undefined),
  su: z.boolean().optional().catch(undefined),
});
type Keys = z.infer<typeof Keys>;

/** A response that took this long to begin counts as poor: longer than a low-latency player's buffer. */
const POOR_FIRST_BYTE_MS = 2_000;

/**
 * Reads a line of an `application/cmcd` body: one event of version 2.
 *
 * @throws {CmcdLineError}
 * @spec CTA-5004-B, event mode
 */
export function readCmcdEvent(line: string): CmcdReport {
  return toReport(Keys.safeParse(decode(() => decodeCmcd(line))), undefined);
}

/**
 * A request as a CDN's log has it. Fields that are not known here are ignored, but a line counts once, so each should have
 * a time or a number of its own.
 */
export const CdnLogLine = z.object({
  /** Pathway id of the CDN; else `host` says which it is. */
  cdn: z.string().max(64).optional(),
  host: z.string().max(253).optional(),
  clientAddress: z.string().max(64).optional(),
  country: z
    .string()
    .regex(/^[A-Z]{2}$/)
    .optional(),
  asn: z.int().min(1).max(4_294_967_295).optional(),
  /** Path and query as requested; CMCD is its `CMCD` parameter. */
  url: z.string().max(CMCD_LINE_CHARS_MAX).optional(),
  /** Or the request's `CMCD-*` headers, names in lower case. */
  headers: z.record(z.string().max(64), z.string().max(CMCD_LINE_CHARS_MAX)).optional(),
  status: z.int().min(0).max(999).optional(),
  firstByteMs: z.number().min(0).optional(),
});
export type CdnLogLine = z.infer<typeof CdnLogLine>;

/**
 * Reads a line of a CDN's log, JSON, with CMCD of version 1 or 2 in the query or the headers of the request.
 *
 * @throws {CmcdLineError}
 */
export function readCdnLogLine(line: string): { readonly log: CdnLogLine; readonly report: CmcdReport } {
  const parsed = CdnLogLine.safeParse(parseJson(line));
  if (!parsed.success) throw new CmcdLineError('line_invalid', parsed.error.issues[0]?.message);
  const log = parsed.data;
  const query =
    log.url === undefined || !log.url.includes('?') ? '' : log.url.slice(log.url.indexOf('?') + 1);
  const cmcd = decode(() => ({
    ...(query === '' ? {} : fromCmcdQuery(query)),
    ...(log.headers === undefined ? {} : fromCmcdHeaders(cmcdHeaders(log.headers))),
  }));
  return { log, report: toReport(Keys.safeParse(cmcd), log) };
}

function cmcdHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .map(([name, value]): [string, string] => [name.toLowerCase(), value])
      .filter(([name]) => name.startsWith('cmcd-')),
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new CmcdLineError('line_invalid', 'not JSON');
  }
}

function decode(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    throw new CmcdLineError('line_invalid', (error as Error).message.slice(0, 200));
  }
}

function toReport(parsed: ReturnType<typeof Keys.safeParse>, log: CdnLogLine | undefined): CmcdReport {
  if (!parsed.success) throw new CmcdLineError('line_invalid');
  const keys = parsed.data;
  if (keys.sid === undefined) throw new CmcdLineError('no_session');
  const value = log === undefined ? valueOfEvent(keys) : valueOfRequest(keys, log);
  if (value === undefined) throw new CmcdLineError('says_nothing');
  return {
    sessionId: keys.sid,
    sequence: keys.sn,
    cdn: keys.cdn ?? log?.cdn,
    host: hostOf(keys.url) ?? keys.h ?? log?.host,
    value,
    // @spec CTA-5004 §bs: the buffer ran dry at some point before this request.
    aboutThePast: log !== undefined && keys.bs === true,
  };
}

/** What an event says of how the viewer fares; `undefined`: nothing. */
function valueOfEvent({ e, sta, rc, ttfb, bs }: Keys): number | undefined {
  switch (e ?? '') {
    case 'e':
      return 0;
    case 'rr':
      return valueOfResponse(rc, ttfb);
    case 'ps':
    case 't':
      if (sta === 'r' || sta === 'f' || bs === true) return 0;
      return sta === 'p' ? 1 : undefined;
    default:
      return bs === true ? 0 : undefined;
  }
}

/** The same of a request in a log, which is one sign of life of a player. */
function valueOfRequest({ bs, su }: Keys, log: CdnLogLine): number {
  const response = valueOfResponse(log.status, log.firstByteMs);
  if (bs === true && su !== true) return 0;
  return response ?? 1;
}

function valueOfResponse(status: number | undefined, firstByteMs: number | undefined): number | undefined {
  // 499 is how some CDNs write that the client has gone, which is its own business.
  if (status !== undefined && (status === 0 || status >= 400) && status !== 499) return 0;
  if (firstByteMs !== undefined && firstByteMs >= POOR_FIRST_BYTE_MS) return 0.3;
  return status === undefined && firstByteMs === undefined ? undefined : 1;
}

function hostOf(url: string | undefined): string | undefined {
  return url !== undefined && URL.canParse(url) ? new URL(url).host : undefined;
}
