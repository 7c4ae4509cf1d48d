import type { Heartbeat } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { IngestPacket } from './incoming-publish.ts';
import type { PacketSequencer } from './packet-sequencer.ts';

/** What a broadcaster sends, as the origin is told. */
export type SourceDescription = NonNullable<Heartbeat['source']>;

const WINDOW_MS = 4_000;
const FRAMES_KEPT = 600;
const SECONDS_KEPT = 4;

/** Measures frame rate and bit rate of one publish over the last seconds. Memory is constant. */
export class SourceMeter {
  readonly #clock: Clock;
  readonly #framesMs: number[] = [];
  readonly #seconds: { second: number; bytes: number }[] = [];
  readonly #startedMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  add(packet: IngestPacket): void {
    if (packet.kind === 'break') this.#framesMs.length = 0;
    if (packet.kind !== 'video' && packet.kind !== 'audio') return;
    this.#addBytes(packet.flvBody.length);
    if (packet.kind !== 'video' || packet.sequenceHeader) return;
    this.#framesMs.push(packet.dtsMs);
    while (
      this.#framesMs.length > FRAMES_KEPT ||
      (this.#framesMs[0] ?? packet.dtsMs) < packet.dtsMs - WINDOW_MS
    )
      this.#framesMs.shift();
  }

  /** Frames per second over the last four seconds of media, to three decimals; null before the second frame. */
  get frameRate(): number | null {
    const first = this.#framesMs[0];
    const last = this.#framesMs.at(-1);
    if (first === undefined || last === undefined || last <= first) return null;
    return Math.round(((this.#framesMs.length - 1) * 1_000_000) / (last - first)) / 1_000;
  }

  /** Bits per second over the last whole seconds; null in the first one. */
  get bitrateBps(): number | null {
    const nowMs = this.#clock.monotonicMs();
    const second = Math.floor(nowMs / 1_000);
    const spanMs = Math.min(SECONDS_KEPT * 1_000 - 1_000 + (nowMs % 1_000), nowMs - this.#startedMs);
    if (spanMs < 1_000) return null;
    let byteCount = 0;
    for (const entry of this.#seconds) if (entry.second > second - SECONDS_KEPT) byteCount += entry.bytes;
    return Math.round((byteCount * 8_000) / spanMs);
  }

  #addBytes(byteCount: number): void {
    const second = Math.floor(this.#clock.monotonicMs() / 1_000);
    const newest = this.#seconds.at(-1);
    if (newest?.second === second) newest.bytes += byteCount;
    else this.#seconds.push({ second, bytes: byteCount });
    if (this.#seconds.length > SECONDS_KEPT) this.#seconds.shift();
  }
}

/** What the origin is told about a publish: codecs and size from the sequence headers, the rest measured. */
export function describeSource(sequencer: PacketSequencer, meter: SourceMeter): SourceDescription {
  const video = sequencer.videoInfo;
  return {
    videoCodec: video?.codec ?? null,
    audioCodec: sequencer.audioCodec ?? null,
    width: video?.width ?? null,
    height: video?.height ?? null,
    frameRate: meter.frameRate,
    bitrateBps: meter.bitrateBps,
  };
}
