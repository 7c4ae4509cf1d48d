import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';

type MediaPacket = IngestPacket & { kind: 'video' | 'audio' };

/** The packets that wait for a timeline to begin. Bounded: when there are too many, all go. */
export class PendingPackets {
  readonly #bytesMax: number;
  readonly #onDiscard: (count: number) => void;
  #packets: MediaPacket[] = [];
  #bytes = 0;
  #hasKeyframe = false;

  constructor(bytesMax: number, onDiscard: (count: number) => void) {
    this.#bytesMax = bytesMax;
    this.#onDiscard = onDiscard;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a packet; its memory is copied. Video before the first key frame is of no use and is left out. */
  push(packet: MediaPacket): void {
    if (this.#bytes + packet.flvBody.length > this.#bytesMax) this.clear();
    if (packet.kind === 'video' && !packet.sequenceHeader) {
      this.#hasKeyframe ||= packet.keyframe;
      if (!this.#hasKeyframe) return this.#onDiscard(1);
    }
    this.#packets.push({ ...packet, flvBody: Uint8Array.from(packet.flvBody) });
    this.#bytes += packet.flvBody.length;
  }

  /** Throws all away. */
  clear(): void {
    if (this.#packets.length > 0) this.#onDiscard(this.#packets.length);
    this.drain();
  }

  /** Takes all out, in order. */
  drain(): MediaPacket[] {
    const packets = this.#packets;
    this.#packets = [];
    this.#bytes = 0;
    this.#hasKeyframe = false;
    return packets;
  }
}
