import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { OriginClient } from '#transcoder/origin-client.ts';
import type { IngestPacket, PublishEnd } from './incoming-publish.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { IngestLimits } from './ingest-settings.ts';
import { PacketLog } from './packet-log.ts';
import { PacketSequencer, type StreamHeaders } from './packet-sequencer.ts';
import { PublishHeartbeat } from './publish-heartbeat.ts';
import { encodeRelayFrame } from './relay-frames.ts';
import { describeSource, SourceMeter } from './source-meter.ts';
import type { MetadataValues } from './stream-metadata.ts';
import type { Track } from './timeline.ts';

export type PublishDeps = {
  readonly clock: Clock;
  readonly metrics: IngestMetrics;
  readonly origin: Pick<OriginClient, 'heartbeat'>;
  /** Called once. */
  readonly onEnded: (reason: PublishEnd) => void;
};

/** One accepted broadcaster: its packets, its heartbeat, its end. */
export class Publish {
  readonly grant: PublishGrant;
  readonly log: PacketLog;
  readonly #deps: PublishDeps;
  readonly #sequencer: PacketSequencer;
  readonly #meter: SourceMeter;
  readonly #heartbeat: PublishHeartbeat;
  #end: PublishEnd | undefined;

  /**
   * @param headers what the same connection has sent before, when its publish is taken up again
   * @param onRevoked called when the origin has ended the session
   */
  constructor(
    grant: PublishGrant,
    limits: IngestLimits,
    deps: PublishDeps,
    onRevoked: (code: string) => void,
    headers?: StreamHeaders,
  ) {
    this.grant = grant;
    this.#deps = deps;
    const { clock, metrics, origin } = deps;
    this.log = new PacketLog(limits, clock);
    this.#meter = new SourceMeter(clock);
    const observer = {
      onPacket: (packet: IngestPacket, prelude: readonly IngestPacket[] | undefined) =>
        this.#pass(packet, prelude),
      onDropped: (reason: string) => metrics.packetsDropped.inc({ reason }),
      onClamped: () => metrics.timestampsClamped.inc(),
    };
    this.#sequencer = new PacketSequencer(limits, clock, observer, headers);
    this.#heartbeat = new PublishHeartbeat(grant, {
      clock,
      metrics,
      origin,
      describe: () => describeSource(this.#sequencer, this.#meter),
      onRevoked,
    });
  }

  /** Why it has ended; undefined while it runs. */
  get endReason(): PublishEnd | undefined {
    return this.#end;
  }

  get headers(): StreamHeaders {
    return this.#sequencer.headers;
  }

  /**
   * Takes one audio or video message; see {@link PacketSequencer.media}.
   *
   * @param payload is not kept
   */
  media(track: Track, timestampMs: number, payload: Uint8Array, arrivalUtcMs: number): void {
    if (this.#end !== undefined) return;
    this.#heartbeat.mediaCame();
    this.#sequencer.media(track, timestampMs, payload, arrivalUtcMs);
  }

  /** Takes the encoder's onMetaData. */
  metadata(values: MetadataValues): void {
    if (this.#end === undefined) this.#sequencer.setMetadata(values);
  }

  /** Ends it; the first reason counts. Readers get what is left. */
  end(reason: PublishEnd): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#heartbeat.stop();
    this.log.end();
    this.#deps.onEnded(reason);
  }

  #pass(packet: IngestPacket, prelude: readonly IngestPacket[] | undefined): void {
    const { metrics } = this.#deps;
    metrics.packets.inc({ kind: packet.kind });
    if (packet.kind === 'break') metrics.timelineBreaks.inc({ reason: packet.reason });
    this.#meter.add(packet);
    this.log.append(encode(packet), prelude?.map(encode));
  }
}

function encode(packet: IngestPacket): Buffer {
  return encodeRelayFrame({ type: 'packet', packet });
}
