import { writeAvcInitSegment } from '#protocol/cmaf/init-writer.ts';
import { planGrid } from '#protocol/cmaf/part-grid.ts';
import { writePart } from '#protocol/cmaf/part-writer.ts';
import { toUploadHeaders } from '#protocol/ingest/part-upload.ts';
import type {
  Presentation,
  PublishGrant,
  TimelineGrant,
  VideoRendition,
} from '#protocol/ingest/publish-session.ts';
import type { MeasuredOrigin } from '#bench/origin/measured-origin.ts';
import { StreamApi } from '#bench/system/stream-api.ts';

/** Bytes of media in a part: 40 KB with its boxes. */
const PART_MEDIA_BYTES = 40_800;
const FRAME_TICKS = 1_000;
const FRAMES_PER_SECOND = 30;
const HEARTBEAT_MS = 1_000;

const RENDITION: VideoRendition = {
  kind: 'video',
  id: '720p',
  codecs: 'avc1.64001F',
  timescale: FRAMES_PER_SECOND * FRAME_TICKS,
  bitrateBps: 1_000_000,
  width: 1280,
  height: 720,
  frameRate: { numerator: FRAMES_PER_SECOND, denominator: 1 },
};

/** A part that is about to be put. */
export type NextPart = { readonly msn: number; readonly part: number; readonly request: Buffer };

/** One live stream of made-up parts, put by the wire contract of transcoders whenever the bench wants the next one. */
export class MadeUpBroadcast {
  readonly streamId: string;
  readonly #origin: MeasuredOrigin;
  readonly #grant: PublishGrant;
  readonly #timeline: TimelineGrant;
  readonly #presentation: Presentation;
  readonly #heartbeat: NodeJS.Timeout;
  #cell = 0;

  private constructor(
    origin: MeasuredOrigin,
    grant: PublishGrant,
    timeline: TimelineGrant,
    presentation: Presentation,
  ) {
    this.#origin = origin;
    this.#grant = grant;
    this.#timeline = timeline;
    this.#presentation = presentation;
    this.streamId = grant.streamId;
    this.#heartbeat = setInterval(
      () => void this.#ingest(`sessions/${grant.sessionId}/heartbeat`, {}).catch(() => undefined),
      HEARTBEAT_MS,
    );
  }

  /** Makes a stream and puts `segments` segments of it. */
  static async begin(origin: MeasuredOrigin, segments: number): Promise<MadeUpBroadcast> {
    const url = `http://127.0.0.1:${origin.port}`;
    const { streamKey } = await new StreamApi(url, origin.adminToken).create({ name: 'bench' });
    const grant = (await ingest(origin, 'sessions', {
      streamKey,
      remoteAddress: '127.0.0.1',
    })) as PublishGrant;
    const grid = planGrid({
      segmentDurationMs: 2_000,
      partDurationMs: 333,
      frameRate: RENDITION.frameRate,
    });
    const presentation: Presentation = {
      segmentDuration: grid.segmentDuration,
      partsPerSegment: grid.partsPerSegment,
      partTargetMs: grid.partTargetMs,
      targetDurationS: grid.targetDurationS,
      renditions: [RENDITION],
    };
    const timeline = (await ingest(origin, `sessions/${grant.sessionId}/timelines`, {
      fencingToken: grant.fencingToken,
      anchorUtcMs: Date.now(),
      presentation,
    })) as TimelineGrant;
    const broadcast = new MadeUpBroadcast(origin, grant, timeline, presentation);
    await broadcast.#putInit();
    for (let part = 0; part < segments * presentation.partsPerSegment; part++) await broadcast.putNext();
    return broadcast;
  }

  get playlistPath(): string {
    return `/live/${this.streamId}/${RENDITION.id}/index.m3u8`;
  }

  /** Path of the newest part. */
  get partPath(): string {
    const { msn, part } = this.#position(this.#cell - 1);
    return `/live/${this.streamId}/${RENDITION.id}/${msn}.${part}.m4s`;
  }

  /** The request that puts the next part; whoever takes it must send it. */
  takeNext(): NextPart {
    const { partsPerSegment, segmentDuration } = this.#presentation;
    const { msn, part } = this.#position(this.#cell);
    const cellTicks =
      (segmentDuration.ticks * RENDITION.timescale) / segmentDuration.timescale / partsPerSegment;
    const startTicks = Math.round((this.#cell * cellTicks) / FRAME_TICKS) * FRAME_TICKS;
    const durationTicks = Math.round(((this.#cell + 1) * cellTicks) / FRAME_TICKS) * FRAME_TICKS - startTicks;
    const independent = part === 0;
    const data = new Uint8Array(PART_MEDIA_BYTES).fill(this.#cell);
    const body = writePart(1, 1, [
      { startTicks, durationTicks, compositionOffsetTicks: 0, sync: independent, data },
    ]);
    const headers = toUploadHeaders({
      sessionId: this.#grant.sessionId,
      fencingToken: this.#grant.fencingToken,
      timeline: this.#timeline.timeline,
      startTicks,
      durationTicks,
      independent,
      last: part === partsPerSegment - 1,
      gap: false,
      arrivalUtcMs: Date.now(),
    });
    this.#cell++;
    return { msn, part, request: this.#put(`${msn}.${part}.m4s`, body, headers) };
  }

  async putNext(): Promise<void> {
    const { msn, part, request } = this.takeNext();
    await this.#send(request, `${msn}.${part}`);
  }

  end(): void {
    clearInterval(this.#heartbeat);
  }

  async #putInit(): Promise<void> {
    const { timeline } = this.#timeline;
    const body = writeAvcInitSegment({
      timescale: RENDITION.timescale,
      width: RENDITION.width,
      height: RENDITION.height,
      configuration: new TextEncoder().encode('bench'),
    });
    const headers = {
      'publish-session': this.#grant.sessionId,
      'publish-fencing-token': String(this.#grant.fencingToken),
      'publish-timeline': String(timeline),
    };
    await this.#send(this.#put(`init-${timeline}.mp4`, body, headers), 'init');
  }

  #position(cell: number): { msn: number; part: number } {
    const { partsPerSegment } = this.#presentation;
    return {
      msn: this.#timeline.firstMsn + Math.floor(cell / partsPerSegment),
      part: cell % partsPerSegment,
    };
  }

  /** The whole request as bytes, so that any socket can send it. */
  #put(file: string, body: Uint8Array, headers: Readonly<Record<string, string>>): Buffer {
    const lines = [
      `PUT /ingest/v1/${this.streamId}/${RENDITION.id}/${file} HTTP/1.1`,
      'host: origin',
      `authorization: Bearer ${this.#origin.ingestToken}`,
      `content-length: ${body.length}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
  }

  async #send(request: Buffer, what: string): Promise<void> {
    const end = request.indexOf('\r\n\r\n');
    const [first = '', ...lines] = request.subarray(0, end).toString().split('\r\n');
    const headers = Object.fromEntries(lines.map((line) => line.split(': ') as [string, string]));
    delete headers['host'];
    delete headers['content-length'];
    const path = first.split(' ')[1] ?? '';
    const response = await fetch(`http://127.0.0.1:${this.#origin.port}${path}`, {
      method: 'PUT',
      headers,
      body: new Uint8Array(request.subarray(end + 4)),
    });
    if (response.status !== 201)
      throw new Error(`${what} was answered ${response.status}: ${await response.text()}`);
    await response.body?.cancel();
  }

  #ingest(path: string, body: unknown): Promise<unknown> {
    return ingest(this.#origin, path, body);
  }
}

async function ingest(origin: MeasuredOrigin, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${origin.port}/ingest/v1/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${origin.ingestToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${await response.text()}`);
  return response.json();
}
