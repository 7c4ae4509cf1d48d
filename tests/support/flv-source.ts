import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { LadderSettings, PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { IncomingPublish, IngestPacket, PublishEnd } from '#transcoder/ingest/incoming-publish.ts';

const FLV_HEADER_BYTES = 13;
const TAG_HEADER_BYTES = 11;

/** What an FLV clip holds, in order; arrival times are to be filled in when it is played. */
export type FlvClip = readonly IngestPacket[];

/**
 * Lets ffmpeg make an FLV clip and reads it.
 *
 * @param args inputs and output options, without the output itself
 */
export async function makeFlvClip(args: readonly string[]): Promise<FlvClip> {
  const child = spawn('ffmpeg', ['-v', 'error', '-nostdin', ...args, '-f', 'flv', 'pipe:1']);
  const chunks: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`ffmpeg made no clip: ${Buffer.concat(errors).toString()}`);
  return readFlv(Buffer.concat(chunks));
}

/** The arguments of an ordinary live encoder for {@link makeFlvClip}: a moving picture, a tone, 2 s groups of pictures. */
export function liveEncoderArgs(options: {
  readonly size?: string;
  readonly fps?: string;
  readonly seconds?: number;
  readonly video?: readonly string[] | null;
  readonly audio?: readonly string[] | null;
  readonly gopFrames?: number;
}): string[] {
  const { size = '640x360', fps = '30', seconds = 4, video = [], audio = [] } = options;
  const inputs = [
    ...(video === null ? [] : ['-f', 'lavfi', '-i', `testsrc2=s=${size}:r=${fps}:d=${seconds}`]),
    ...(audio === null ? [] : ['-f', 'lavfi', '-i', `sine=440:r=44100:d=${seconds}`]),
  ];
  const gop = String(options.gopFrames ?? Math.round(2 * fractionOf(fps)));
  const encoders = [
    ...(video === null
      ? []
      : ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-g', gop, '-keyint_min', gop]),
    ...(video === null ? [] : ['-sc_threshold', '0', '-bf', '0', ...video]),
    ...(audio === null ? [] : ['-c:a', 'aac', '-ac', '2', ...audio]),
  ];
  return [...inputs, ...encoders];
}

function fractionOf(fps: string): number {
  const [numerator = 30, denominator = 1] = fps.split('/').map(Number);
  return numerator / denominator;
}

/** Reads an FLV file into packets, as the ingest would hand them on: relative to its first frame, arrival 0. */
export function readFlv(bytes: Buffer): FlvClip {
  const packets: IngestPacket[] = [];
  for (let offset = FLV_HEADER_BYTES; offset + TAG_HEADER_BYTES <= bytes.length;) {
    const type = bytes[offset];
    const length = bytes.readUIntBE(offset + 1, 3);
    const timestampMs = bytes.readUIntBE(offset + 4, 3) + (bytes[offset + 7] ?? 0) * 2 ** 24;
    const body = Uint8Array.from(
      bytes.subarray(offset + TAG_HEADER_BYTES, offset + TAG_HEADER_BYTES + length),
    );
    const packet = toPacket(type, timestampMs, body);
    if (packet !== undefined) packets.push(packet);
    offset += TAG_HEADER_BYTES + length + 4;
  }
  return packets;
}

function toPacket(type: number | undefined, dtsMs: number, flvBody: Uint8Array): IngestPacket | undefined {
  const [first = 0, packetType] = flvBody;
  if (type === 9 && (packetType === 0 || packetType === 1))
    return {
      kind: 'video',
      sequenceHeader: packetType === 0,
      keyframe: packetType === 1 && first >> 4 === 1,
      dtsMs,
      compositionOffsetMs: packetType === 1 ? Buffer.from(flvBody).readIntBE(2, 3) : 0,
      arrivalUtcMs: 0,
      flvBody,
    };
  if (type === 8) return { kind: 'audio', sequenceHeader: packetType === 0, dtsMs, arrivalUtcMs: 0, flvBody };
  // onMetaData is left out: nothing in the transcoder may depend on it.
  return undefined;
}

/** A clip shifted in time: for what follows a jump of the timestamps. */
export function shiftClip(clip: FlvClip, byMs: number): FlvClip {
  return clip.map((packet) => ('dtsMs' in packet ? { ...packet, dtsMs: packet.dtsMs + byMs } : packet));
}

/** A made-up broadcaster: gives its packets at the pace of their timestamps, or faster. */
export class FakePublish implements IncomingPublish {
  readonly grant: PublishGrant;
  readonly ended: Promise<PublishEnd>;
  readonly #end = Promise.withResolvers<PublishEnd>();
  readonly #packets: FlvClip;
  readonly #speed: number;

  /** @param options.speed 1 is real time; Infinity as fast as they are taken */
  constructor(
    packets: FlvClip,
    options: {
      readonly speed?: number;
      readonly ladder?: LadderSettings;
      readonly segmentDurationMs?: number;
      readonly partDurationMs?: number;
    } = {},
  ) {
    this.#packets = packets;
    this.#speed = options.speed ?? 1;
    this.ended = this.#end.promise;
    this.grant = {
      sessionId: randomUUID(),
      streamId: 'test',
      fencingToken: 1,
      segmentDurationMs: options.segmentDurationMs ?? 2_000,
      partDurationMs: options.partDurationMs ?? 333,
      ladder: options.ladder ?? {},
    };
  }

  async *packets(signal: AbortSignal): AsyncGenerator<IngestPacket, void, undefined> {
    const startMs = performance.now();
    let playedMs = 0;
    let baseMs: number | undefined;
    for (const packet of this.#packets) {
      if (signal.aborted) break;
      if (packet.kind === 'break' || packet.kind === 'metadata') {
        baseMs = packet.kind === 'break' ? undefined : baseMs;
        yield packet;
        continue;
      }
      // A new timeline goes on at the pace of the clock, wherever its timestamps begin.
      baseMs ??= packet.dtsMs - playedMs;
      playedMs = packet.dtsMs - baseMs;
      const waitMs = playedMs / this.#speed - (performance.now() - startMs);
      if (waitMs > 1) await delay(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) break;
      yield { ...packet, arrivalUtcMs: Date.now() };
    }
    this.#end.resolve('unpublished');
  }
}
