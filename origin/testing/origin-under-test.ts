import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { toUploadHeaders } from '#protocol/ingest/part-upload.ts';
import type {
  Heartbeat,
  Presentation,
  PublishGrant,
  TimelineGrant,
} from '#protocol/ingest/publish-session.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { createMetrics } from '#runtime/metrics.ts';
import type { Database } from '#runtime/postgres/database.ts';
import { makeInit, makePart, makePresentation, partTicks } from '#origin/live/testing/synthetic-media.ts';
import { createOrigin, type Origin, type OriginDeps } from '#origin/service.ts';
import { readOriginSettings } from '#origin/settings.ts';

export const ADMIN_TOKEN = 'admin-token-of-the-tests';
export const INGEST_TOKEN = 'ingest-token-of-the-tests';

/** An answer of the origin, read to its end. */
export type Answer<Body = Record<string, unknown>> = {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
  readonly text: string;
};

/** A problem+json body. */
export type Problem = {
  readonly code: string;
  readonly detail: string;
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
};

/** A stream as the API answers it, as far as tests look at it. */
export type ApiStream = {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly streamKey: string;
  readonly ingest: readonly string[];
  readonly playback: { readonly hls: string };
  readonly keys: readonly { readonly id: string; readonly expiresAt: string | null }[];
  readonly [field: string]: unknown;
};

/** A real origin on a real socket, with the calls that an API client and a transcoder make. */
export class OriginUnderTest {
  readonly origin: Origin;
  readonly dataDir: string;

  private constructor(origin: Origin, dataDir: string) {
    this.origin = origin;
    this.dataDir = dataDir;
  }

  /** @param env settings that differ from a small origin on any free port */
  static async start(
    env: Readonly<Record<string, string>> = {},
    deps: Partial<OriginDeps> & { readonly database?: Database } = {},
  ): Promise<OriginUnderTest> {
    const dataDir = env['DATA_DIR'] ?? mkdtempSync(join(tmpdir(), 'livehls-origin-'));
    const settings = readOriginSettings({
      ADMIN_TOKEN,
      INGEST_TOKEN,
      ORIGIN_PORT: '0',
      ORIGIN_HOST: '127.0.0.1',
      ORIGIN_PLAYER: 'no',
      ORIGIN_DRAIN_S: '0',
      DATA_DIR: dataDir,
      ...env,
    });
    try {
      const origin = await createOrigin(settings, {
        clock: systemClock,
        logger: createLogger('test', 'silent'),
        metrics: createMetrics('origin'),
        ...deps,
      });
      return new OriginUnderTest(origin, dataDir);
    } catch (error) {
      if (env['DATA_DIR'] === undefined) rmSync(dataDir, { recursive: true, force: true });
      throw error;
    }
  }

  /** An origin that runs in another process. */
  static attach(url: string, dataDir: string, close: () => Promise<void>): OriginUnderTest {
    const ensureStream = () => Promise.reject(new Error('it runs in another process'));
    return new OriginUnderTest({ url, port: Number(new URL(url).port), ensureStream, close }, dataDir);
  }

  /** Any call. A body that is not text is sent as JSON. */
  async call<Body = Record<string, unknown>>(
    method: string,
    path: string,
    options: {
      readonly token?: string | null;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Answer<Body>> {
    const token = options.token === undefined ? ADMIN_TOKEN : options.token;
    const body = typeof options.body === 'string' ? options.body : JSON.stringify(options.body);
    const response = await fetch(new URL(path, this.origin.url), {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body }),
    });
    const text = await response.text();
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: (isJson ? JSON.parse(text) : {}) as Body,
    };
  }

  /** Makes a stream. @throws when the answer is not 201 */
  async createStream(body: object = {}): Promise<ApiStream> {
    const answer = await this.call<ApiStream>('POST', '/api/v1/streams', { body });
    if (answer.status !== 201)
      throw new Error(`creating a stream was answered ${answer.status}: ${answer.text}`);
    return answer.body;
  }

  async getStream(id: string): Promise<ApiStream> {
    return (await this.call<ApiStream>('GET', `/api/v1/streams/${id}`)).body;
  }

  ingest<Body = Record<string, unknown>>(path: string, body: unknown): Promise<Answer<Body>> {
    return this.call<Body>('POST', `/ingest/v1/${path}`, { body, token: INGEST_TOKEN });
  }

  authorise(streamKey: string, remoteAddress = '192.0.2.1'): Promise<Answer<PublishGrant & Problem>> {
    return this.ingest('sessions', { streamKey, remoteAddress });
  }

  heartbeat(grant: PublishGrant, heartbeat: Heartbeat = {}): Promise<Answer<Problem>> {
    return this.ingest(`sessions/${grant.sessionId}/heartbeat`, heartbeat);
  }

  /** Sends a heartbeat every half second until stopped; then tells which statuses were answered. */
  keepAlive(grant: PublishGrant): { stop: () => Promise<ReadonlySet<number>> } {
    const statuses = new Set<number>();
    const abort = new AbortController();
    const beating = (async () => {
      while (!abort.signal.aborted) {
        statuses.add((await this.heartbeat(grant)).status);
        await delay(500, undefined, { signal: abort.signal }).catch(() => undefined);
      }
    })();
    return {
      stop: async () => {
        abort.abort();
        await beating;
        return statuses;
      },
    };
  }

  /** Begins a timeline and puts the init segments and the first `segments` segments of every rendition. */
  async publish(
    grant: PublishGrant,
    segments = 1,
    presentation: Presentation = makePresentation(),
  ): Promise<TimelineGrant> {
    const { body: timeline, status } = await this.ingest<TimelineGrant>(
      `sessions/${grant.sessionId}/timelines`,
      { fencingToken: grant.fencingToken, anchorUtcMs: Date.now(), presentation },
    );
    if (status !== 201) throw new Error(`the timeline was answered ${status}`);
    for (const rendition of presentation.renditions) {
      const path = `${rendition.id}/init-${timeline.timeline}.mp4`;
      await this.#put(grant, timeline, path, makeInit(rendition, timeline.timeline), {});
    }
    for (let cell = 0; cell < segments * presentation.partsPerSegment; cell++)
      for (const { id } of presentation.renditions) {
        const status = await this.putPart(grant, timeline, presentation, id, cell);
        if (status !== 201) throw new Error(`the part was answered ${status}`);
      }
    return timeline;
  }

  /** Puts one part; the status of the answer. */
  putPart(
    grant: PublishGrant,
    timeline: TimelineGrant,
    presentation: Presentation,
    renditionId: string,
    cell: number,
  ): Promise<number> {
    const rendition = presentation.renditions.find(({ id }) => id === renditionId);
    if (rendition === undefined) throw new Error(`no rendition ${renditionId}`);
    const msn = timeline.firstMsn + Math.floor(cell / presentation.partsPerSegment);
    const part = cell % presentation.partsPerSegment;
    const ticks = partTicks(presentation, rendition, cell);
    const independent = rendition.kind === 'audio' || part === 0;
    const body = makePart({ ...ticks, independent, label: `${renditionId} ${msn}.${part}` });
    const last = part === presentation.partsPerSegment - 1;
    return this.#put(grant, timeline, `${renditionId}/${msn}.${part}.m4s`, body, {
      ...ticks,
      independent,
      last,
    });
  }

  async #put(
    grant: PublishGrant,
    { timeline }: TimelineGrant,
    path: string,
    body: Uint8Array<ArrayBuffer>,
    part: { startTicks?: number; durationTicks?: number; independent?: boolean; last?: boolean },
  ): Promise<number> {
    const { startTicks = 0, durationTicks = 0, independent = false, last = false } = part;
    const { sessionId, fencingToken } = grant;
    const headers = toUploadHeaders({
      sessionId,
      fencingToken,
      timeline,
      startTicks,
      durationTicks,
      independent,
      last,
      gap: false,
      arrivalUtcMs: Date.now(),
    });
    const response = await fetch(new URL(`/ingest/v1/${grant.streamId}/${path}`, this.origin.url), {
      method: 'PUT',
      headers: { ...headers, authorization: `Bearer ${INGEST_TOKEN}` },
      body,
    });
    await response.body?.cancel();
    return response.status;
  }

  /** Stops the origin; its data stay. */
  stop(): Promise<void> {
    return this.origin.close();
  }

  /** Stops the origin and removes its data. */
  async close(): Promise<void> {
    await this.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }
}
