import { createHash } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { callbackify, promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Client, errors, type buildConnector, type Dispatcher } from 'undici';
import type { Clock } from '#runtime/clock.ts';
import { abortAfter } from '#steering/probe/deadline.ts';
import { ProbeFailure, toProbeFailure } from '#steering/probe/probe-failure.ts';
import type { PinnedAddress } from '#runtime/outbound/target-guard.ts';

/** Longest a TCP connect and a TLS handshake may take, each. */
export const CONNECT_DEADLINE_MS = 1_000;
/** Most bytes of the headers of an answer. */
export const HEADER_BYTES_MAX = 16 * 1024;

const gunzipCapped = promisify(gunzip);

/** One request over a probe's connection. */
export type ProbeRequest = {
  /** Path and query; the host is that of the connection, always. */
  readonly path: string;
  /** Longest wait for the headers. Ignored when `firstByte` is given. */
  readonly firstByteDeadlineMs: number;
  /** Aborts the wait for the headers instead of the deadline; for held requests. */
  readonly firstByte?: AbortSignal;
  /** Longest the body may take from the headers on. */
  readonly bodyDeadlineMs: number;
  readonly bodyBytesMax: number;
  /** Text: gzip is asked for and undone, as players do for playlists. Bytes: hashed and counted, not kept. */
  readonly as: 'text' | 'hash';
};

/** A complete answer with status 200. Times are ms from the request, by the monotonic clock. */
export type ProbeAnswer = {
  readonly header: (name: string) => string | undefined;
  /** Monotonic ms at which the headers were there. */
  readonly firstByteAtMs: number;
  readonly firstByteMs: number;
  readonly bodyMs: number;
  readonly bodyBytes: number;
  /** For `text`. */
  readonly text: string;
  /** SHA-256 in hex; for `hash`. */
  readonly sha256: string;
};

/** How long each step of connecting took. */
export type ConnectTimes = { readonly tcpMs: number; readonly tlsMs?: number };

/**
 * A connection of one probe to one pinned address. Everything that is asked goes there: names are not resolved again,
 * redirects are not followed, and what comes back is capped in time and size. HTTP/1.1 over TCP or TLS.
 */
export class ProbeConnection {
  readonly #client: Client;
  readonly #url: URL;
  readonly #pinned: PinnedAddress;
  readonly #ca: string | undefined;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #opened: Socket | undefined;
  #tcpMs: number | undefined;

  /**
   * Does not connect yet.
   *
   * @param signal ends everything under way
   */
  constructor(
    url: URL,
    pinned: PinnedAddress,
    deps: {
      clock: Clock;
      signal: AbortSignal;
      /** Certificates to trust instead of the system's. */ ca?: string;
    },
  ) {
    this.#url = url;
    this.#pinned = pinned;
    this.#ca = deps.ca;
    this.#clock = deps.clock;
    this.#signal = deps.signal;
    const dial = callbackify(async (): Promise<Socket> => {
      const opened = this.#opened;
      this.#opened = undefined;
      return opened ?? (await this.#connect());
    });
    const connector: buildConnector.connector = (_options, callback) =>
      dial((error, socket) => (error === null ? callback(null, socket) : callback(error, null)));
    this.#client = new Client(url.origin, {
      connect: connector,
      pipelining: 1,
      allowH2: false,
      maxHeaderSize: HEADER_BYTES_MAX,
      // Our own deadlines are finer than undici's timers, which tick once a second.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /**
   * Connects, so that what it costs is known apart from the first answer.
   *
   * @throws {ProbeFailure} when it is refused, hangs or the certificate is not right
   */
  async open(): Promise<ConnectTimes> {
    const startMs = this.#clock.monotonicMs();
    const socket = await this.#connect();
    this.#opened = socket;
    const wholeMs = this.#clock.monotonicMs() - startMs;
    const tcpMs = this.#tcpMs ?? wholeMs;
    return { tcpMs, ...(this.#url.protocol === 'https:' ? { tlsMs: wholeMs - tcpMs } : {}) };
  }

  /**
   * Asks and reads the whole answer.
   *
   * @throws {ProbeFailure} for everything but a complete answer with status 200
   */
  async get(request: ProbeRequest): Promise<ProbeAnswer> {
    const startMs = this.#clock.monotonicMs();
    const deadline = abortAfter(
      this.#clock,
      this.#signal,
      request.firstByte ?? request.firstByteDeadlineMs,
      () => new ProbeFailure('no_answer'),
    );
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.#client.request({
        path: request.path,
        method: 'GET',
        signal: deadline.signal,
        headers: {
          accept: '*/*',
          'user-agent': 'cdn-health-probe',
          ...(request.as === 'text' ? { 'accept-encoding': 'gzip' } : {}),
        },
      });
    } catch (error) {
      throw toProbeFailure(error, 'headers');
    } finally {
      deadline.clear();
    }
    const firstByteAtMs = this.#clock.monotonicMs();
    const bodyDeadline = abortAfter(
      this.#clock,
      this.#signal,
      request.bodyDeadlineMs,
      () => new ProbeFailure('body_stalled'),
    );
    const onAbort = (): void => void answer.body.destroy(bodyDeadline.signal.reason as Error);
    bodyDeadline.signal.addEventListener('abort', onAbort, { once: true });
    try {
      assertOk(answer.statusCode);
      const body = await readBody(answer.body, request);
      const bodyMs = this.#clock.monotonicMs() - firstByteAtMs;
      return {
        header: (name) => headerOf(answer.headers, name),
        firstByteAtMs,
        firstByteMs: firstByteAtMs - startMs,
        bodyMs,
        bodyBytes: body.bytes,
        text: request.as === 'text' ? await toText(body.chunks, answer.headers, request.bodyBytesMax) : '',
        sha256: body.sha256,
      };
    } catch (error) {
      answer.body.on('error', () => undefined).destroy();
      throw toProbeFailure(error, 'body');
    } finally {
      bodyDeadline.clear();
      bodyDeadline.signal.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the connection at once; requests under way fail. */
  async close(): Promise<void> {
    this.#opened?.destroy();
    await this.#client.destroy();
  }

  async #connect(): Promise<Socket> {
    const url = this.#url;
    const secure = url.protocol === 'https:';
    const startMs = this.#clock.monotonicMs();
    const tcp = connectTcp({
      host: this.#pinned.address,
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      family: this.#pinned.family,
      noDelay: true,
    });
    await this.#until(tcp, 'connect', 'connect_timeout');
    this.#tcpMs = this.#clock.monotonicMs() - startMs;
    if (!secure) return tcp;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const tls = connectTls({
      socket: tcp,
      host,
      // An address is no server name. @spec RFC 6066 §3
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ALPNProtocols: ['http/1.1'],
      ...(this.#ca === undefined ? {} : { ca: this.#ca }),
    });
    await this.#until(tls, 'secureConnect', 'tls_failed');
    return tls;
  }

  #until(socket: Socket, event: string, late: 'connect_timeout' | 'tls_failed'): Promise<void> {
    const deadline = abortAfter(this.#clock, this.#signal, CONNECT_DEADLINE_MS, () => new ProbeFailure(late));
    return new Promise<void>((resolve, reject) => {
      const fail = (error: unknown): void => {
        // Errors that come after this one have nobody to go to.
        socket.on('error', () => undefined).destroy();
        reject(toProbeFailure(error, event === 'connect' ? 'tcp' : 'tls'));
      };
      deadline.signal.addEventListener('abort', () => fail(deadline.signal.reason), { once: true });
      if (deadline.signal.aborted) fail(deadline.signal.reason);
      socket.once('error', fail);
      socket.once('close', () => fail(new errors.SocketError('closed while connecting')));
      socket.once(event, () => {
        socket.removeAllListeners('error').removeAllListeners('close');
        // Until somebody asks over it, an error of an idle socket shows when it is used.
        socket.on('error', () => undefined);
        resolve();
      });
    }).finally(() => deadline.clear());
  }
}

function assertOk(status: number): void {
  if (status === 200) return;
  if (status >= 300 && status < 400) throw new ProbeFailure('redirect');
  if (status >= 400 && status < 500) throw new ProbeFailure('status_4xx');
  throw new ProbeFailure(status >= 500 ? 'status_5xx' : 'status_other');
}

async function readBody(
  body: Dispatcher.ResponseData['body'],
  request: ProbeRequest,
): Promise<{ bytes: number; chunks: Buffer[]; sha256: string }> {
  const hash = createHash('sha256');
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > request.bodyBytesMax) throw new ProbeFailure('body_too_large');
      if (request.as === 'text') chunks.push(chunk);
      else hash.update(chunk);
    }
  } catch (error) {
    const failure = toProbeFailure(error, 'body');
    failure.bodyBytes = bytes;
    throw failure;
  }
  return { bytes, chunks, sha256: request.as === 'hash' ? hash.digest('hex') : '' };
}

async function toText(
  chunks: Buffer[],
  headers: Dispatcher.ResponseData['headers'],
  max: number,
): Promise<string> {
  const encoding = headerOf(headers, 'content-encoding') ?? 'identity';
  const raw = Buffer.concat(chunks);
  if (encoding === 'identity') return raw.toString('utf8');
  if (encoding !== 'gzip') throw new ProbeFailure('encoding_invalid');
  const plain = await gunzipCapped(raw, { maxOutputLength: max }).catch(() => {
    throw new ProbeFailure('encoding_invalid');
  });
  return plain.toString('utf8');
}

function headerOf(headers: Dispatcher.ResponseData['headers'], name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}
