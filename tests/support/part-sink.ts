import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  formatHoldersNote,
  fromUploadHeaders,
  HOLDERS_HEADER,
  UPLOAD_HEADERS,
  type HoldersNote,
  type PartUpload,
} from '#protocol/ingest/part-upload.ts';
import {
  PublishRequest,
  TimelineRequest,
  type EndRequest,
  type PublishGrant,
} from '#protocol/ingest/publish-session.ts';

/** A part as it came in. */
export type SunkPart = PartUpload & {
  readonly renditionId: string;
  readonly bytes: Buffer;
  readonly storedUtcMs: number;
};
/** A timeline as it was asked for, with what was given out. */
export type SunkTimeline = TimelineRequest & { readonly timeline: number; readonly firstMsn: number };

/** How the sink answers a request instead of storing: a status and a problem code, or after how long. */
export type SinkAnswer = { readonly status?: number; readonly code?: string; readonly delayMs?: number };

/**
 * An origin seen from a transcoder, with a memory and a will of its own: grants sessions, takes timelines, init segments and parts on a real
 * socket and answers as the test says.
 */
export class PartSink {
  readonly parts: SunkPart[] = [];
  readonly inits = new Map<string, Buffer>();
  readonly timelines: SunkTimeline[] = [];
  readonly ends: EndRequest[] = [];
  /** Paths of all requests, refused ones included. */
  readonly requests: string[] = [];
  connections = 0;
  /** Decides on every upload; undefined stores it. */
  answer: (path: string) => SinkAnswer | undefined = () => undefined;
  /** Decides on every other call. */
  answerCall: (path: string) => SinkAnswer | undefined = () => undefined;
  /** What the grants of timelines and the answers to uploads say of the origins that hold the stream. */
  holders: HoldersNote | undefined;
  /** What a stream key may do; undefined refuses it. Every heartbeat is answered 200. */
  grantFor: (streamKey: string) => PublishGrant | undefined = () => undefined;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#handle(request, response));
    this.#server.on('connection', () => {
      this.connections += 1;
    });
  }

  static async start(port = 0): Promise<PartSink> {
    const sink = new PartSink();
    await new Promise<void>((resolve) => sink.#server.listen(port, '127.0.0.1', resolve));
    return sink;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The parts of one rendition, in order of arrival; of one timeline when its number is given. */
  partsOf(renditionId: string, timeline?: number): SunkPart[] {
    return this.parts.filter(
      (part) => part.renditionId === renditionId && (timeline === undefined || part.timeline === timeline),
    );
  }

  /** Init segment and all parts of a rendition in one timeline, as one file. */
  fileOf(renditionId: string, timeline = 0): Buffer {
    const init = this.inits.get(`${renditionId}/${timeline}`);
    if (init === undefined) throw new Error(`there is no init segment of ${renditionId} in ${timeline}`);
    return Buffer.concat([init, ...this.partsOf(renditionId, timeline).map((part) => part.bytes)]);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    this.requests.push(path);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const body = Buffer.concat(chunks);
    const planned = request.method === 'PUT' ? this.answer(path) : this.answerCall(path);
    const reply = (): void => {
      if (planned?.status !== undefined) {
        response.writeHead(planned.status, { 'content-type': 'application/problem+json' });
        response.end(JSON.stringify({ status: planned.status, code: planned.code ?? 'test_refusal' }));
        return;
      }
      const { status, answer } = this.#store(request, path, body);
      response.writeHead(status, {
        'content-type': 'application/json',
        ...(this.holders && { [HOLDERS_HEADER]: formatHoldersNote(this.holders) }),
      });
      response.end(JSON.stringify(answer));
    };
    if (planned?.delayMs === undefined) reply();
    else setTimeout(reply, planned.delayMs);
  }

  #store(request: IncomingMessage, path: string, body: Buffer): { status: number; answer: unknown } {
    if (path.endsWith('/timelines')) return this.#storeTimeline(body);
    if (path.endsWith('/sessions')) return this.#authorise(body);
    if (path.endsWith('/heartbeat')) return { status: 200, answer: {} };
    if (path.endsWith('/end')) {
      this.ends.push(JSON.parse(body.toString()) as EndRequest);
      return { status: 200, answer: {} };
    }
    const init = /^\/ingest\/v1\/[^/]+\/([^/]+)\/init-(\d+)\.mp4$/.exec(path);
    if (init !== null) {
      this.inits.set(`${init[1]}/${init[2]}`, body);
      return { status: 201, answer: {} };
    }
    const part = /^\/ingest\/v1\/[^/]+\/([^/]+)\/(\d+)\.(\d+)\.m4s$/.exec(path);
    if (part === null) return { status: 404, answer: { code: 'not_found' } };
    const headers = fromUploadHeaders((name) => request.headers[name] as string | undefined);
    if (!headers.gap && request.headers[UPLOAD_HEADERS.digest] === undefined)
      return { status: 400, answer: { code: 'digest_missing' } };
    this.parts.push({
      ...headers,
      renditionId: part[1] as string,
      msn: Number(part[2]),
      part: Number(part[3]),
      bytes: body,
      storedUtcMs: Date.now(),
    });
    return { status: 201, answer: {} };
  }

  #authorise(body: Buffer): { status: number; answer: unknown } {
    const grant = this.grantFor(PublishRequest.parse(JSON.parse(body.toString())).streamKey);
    if (grant === undefined) return { status: 403, answer: { code: 'stream_key_unknown' } };
    return { status: 201, answer: grant };
  }

  #storeTimeline(body: Buffer): { status: number; answer: unknown } {
    const request = TimelineRequest.parse(JSON.parse(body.toString()));
    const { ticks, timescale } = request.presentation.segmentDuration;
    const last = Math.max(0, ...this.parts.map((part) => part.msn));
    const now = Math.floor((request.anchorUtcMs * timescale) / (ticks * 1000));
    const grant = { timeline: this.timelines.length, firstMsn: Math.max(now, last + 1) };
    this.timelines.push({ ...request, ...grant });
    const { holders } = this;
    return { status: 201, answer: { ...grant, ...(holders && { origins: holders.origins }) } };
  }
}
