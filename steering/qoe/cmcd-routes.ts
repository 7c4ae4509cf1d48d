import { createHash, timingSafeEqual } from 'node:crypto';
import { Hono, type Context } from 'hono';
import { ProblemError, problemResponse } from '#runtime/http/problem.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Qoe } from '#steering/qoe/qoe.ts';
import {
  CMCD_LINE_CHARS_MAX,
  CmcdLineError,
  readCdnLogLine,
  readCmcdEvent,
  type CmcdReport,
} from '#steering/qoe/read-cmcd.ts';
import { AddressRate, SequenceFilter } from '#steering/qoe/report-filter.ts';
import { RecentMap } from '#steering/qoe/recent-map.ts';
import { voiceOf, type Place } from '#steering/qoe/viewer-place.ts';

/** Most bytes and lines of a player's body, and of a CDN's log. */
export const CMCD_BODY_BYTES_MAX = 64 * 1024;
export const CMCD_BODY_LINES_MAX = 128;
export const LOG_BODY_BYTES_MAX = 1024 * 1024;
export const LOG_BODY_LINES_MAX = 5_000;

/** Log lines whose repetition is noticed. */
export const LOG_LINES_REMEMBERED_MAX = 20_000;

export type CmcdRoutesDeps = {
  readonly clock: Clock;
  /** The client's address as the socket or a trusted front says. */
  readonly addressOf: (context: Context) => string | undefined;
  /** Its country and network as a trusted front says. */
  readonly placeOf: (context: Context) => Place;
  /** The CDN that is reached under a host name (with port), if it is one of ours. */
  readonly cdnByHost: (host: string) => string | undefined;
  readonly isCdn: (name: string) => boolean;
  /** What CDNs' log shippers must present; without it logs are refused. Log lines speak for other clients' addresses. */
  readonly logToken: string | undefined;
};

const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'POST, OPTIONS',
  'access-control-allow-headers': 'content-type, authorization',
  'access-control-max-age': '86400',
  'cache-control': 'no-store',
} as const;

/**
 * `POST /cmcd`: players' own reports (`application/cmcd`, version 2 events, one a line) and CDNs' request logs
 * (`application/x-ndjson`, bearer token). 204 when the body could be read, whatever became of its lines: players repeat
 * what is answered with 429 or 5xx and fall silent for good at 410, so neither is used.
 *
 * 400 `cmcd_unreadable`, 401 `unauthorized`, 413 `cmcd_too_large`, 415 `cmcd_type_unknown`.
 */
export function createCmcdRoutes(qoe: Qoe, deps: CmcdRoutesDeps): Hono {
  const collector = new Collector(qoe, deps);
  const app = new Hono();
  app.options('/cmcd', (context) => context.body(null, 204, CORS));
  app.post('/cmcd', async (context) => {
    try {
      await collector.collect(context);
      return context.body(null, 204, CORS);
    } catch (error) {
      if (error instanceof ProblemError) return problemResponse(error);
      throw error;
    }
  });
  return app;
}

class Collector {
  readonly #qoe: Qoe;
  readonly #deps: CmcdRoutesDeps;
  readonly #rate: AddressRate;
  readonly #sequences = new SequenceFilter();
  /** Digests of log lines seen last: shippers repeat batches too. */
  readonly #logLines = new RecentMap<string, true>(LOG_LINES_REMEMBERED_MAX);

  constructor(qoe: Qoe, deps: CmcdRoutesDeps) {
    this.#qoe = qoe;
    this.#deps = deps;
    this.#rate = new AddressRate(deps.clock);
  }

  async collect(context: Context): Promise<void> {
    const [type = ''] = (context.req.header('content-type') ?? '').toLowerCase().split(';', 1);
    switch (type.trim()) {
      case 'application/cmcd':
      case 'text/plain':
        return this.#events(context);
      case 'application/x-ndjson':
      case 'application/json':
        return this.#logs(context);
      default:
        throw new ProblemError(
          415,
          'cmcd_type_unknown',
          'Send application/cmcd, or application/x-ndjson for a log.',
        );
    }
  }

  async #events(context: Context): Promise<void> {
    const address = this.#deps.addressOf(context);
    const voice = voiceOf(address);
    const place = this.#deps.placeOf(context);
    let read = 0;
    const lines = await this.#lines(context, CMCD_BODY_BYTES_MAX, CMCD_BODY_LINES_MAX);
    for (const line of lines) {
      if (!this.#rate.take(voice)) {
        this.#qoe.metrics.dropped('address_rate');
        continue;
      }
      const report = this.#attempt(() => readCmcdEvent(line));
      if (report === undefined) continue;
      read++;
      if (this.#sequences.isNew(`${voice}\n${report.sessionId}`, report.sequence))
        this.#take(report, address, place);
      else this.#qoe.metrics.dropped('duplicate');
    }
    if (read === 0 && lines.length > 0 && this.#rate.take(voice) && this.#unreadable(lines))
      throw new ProblemError(400, 'cmcd_unreadable', 'No line of the body is a CMCD event of version 2.');
  }

  async #logs(context: Context): Promise<void> {
    const { logToken } = this.#deps;
    const sent = /^Bearer (\S{1,512})$/i.exec(context.req.header('authorization') ?? '')?.[1];
    if (logToken === undefined || sent === undefined || !sameSecret(sent, logToken))
      throw new ProblemError(401, 'unauthorized', 'Logs need the token of the log shippers.', {
        headers: { 'www-authenticate': 'Bearer' },
      });
    for (const line of await this.#lines(context, LOG_BODY_BYTES_MAX, LOG_BODY_LINES_MAX)) {
      if (!this.#isNewLogLine(line)) {
        this.#qoe.metrics.dropped('duplicate');
        continue;
      }
      const read = this.#attempt(() => readCdnLogLine(line));
      if (read === undefined) continue;
      const { country, asn, clientAddress } = read.log;
      this.#take(read.report, clientAddress, { country, asn });
    }
  }

  #take(report: CmcdReport, address: string | undefined, place: Place): void {
    const { host } = report;
    const named = report.cdn !== undefined && this.#deps.isCdn(report.cdn) ? report.cdn : undefined;
    const cdn = named ?? (host === undefined ? undefined : this.#deps.cdnByHost(host));
    const { sessionId, value, aboutThePast = false } = report;
    this.#qoe.observePlayback({ sessionId, address, place, cdn, value, aboutThePast });
  }

  #attempt<Read>(read: () => Read): Read | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CmcdLineError)) throw error;
      this.#qoe.metrics.dropped(error.code);
      return undefined;
    }
  }

  /** Whether not even the syntax of any line is right; a line that merely says nothing is no mistake. */
  #unreadable(lines: readonly string[]): boolean {
    return lines.every((line) => {
      try {
        readCmcdEvent(line);
        return false;
      } catch (error) {
        return error instanceof CmcdLineError && error.code === 'line_invalid';
      }
    });
  }

  /** Reads the body within its limits and splits it. */
  async #lines(context: Context, bytesMax: number, linesMax: number): Promise<readonly string[]> {
    const text = await readText(context, bytesMax);
    const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
    const short = lines.slice(0, linesMax).filter((line) => line.length <= CMCD_LINE_CHARS_MAX);
    for (let line = short.length; line < Math.min(lines.length, linesMax); line++)
      this.#qoe.metrics.dropped('line_too_long');
    for (let line = linesMax; line < lines.length; line++) this.#qoe.metrics.dropped('too_many_lines');
    return short;
  }

  #isNewLogLine(line: string): boolean {
    const digest = createHash('sha256').update(line).digest('base64');
    if (this.#logLines.get(digest) === true) return false;
    this.#logLines.set(digest, true);
    return true;
  }
}

async function readText(context: Context, bytesMax: number): Promise<string> {
  const tooLarge = (): ProblemError =>
    new ProblemError(
      413,
      'cmcd_too_large',
      `The body may have ${bytesMax} bytes at most; send less at once.`,
    );
  if (Number(context.req.header('content-length') ?? 0) > bytesMax) throw tooLarge();
  const { body } = context.req.raw;
  if (body === null) return '';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function sameSecret(sent: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(sent), digest(expected));
}
