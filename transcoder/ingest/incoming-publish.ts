import type { PublishGrant } from '#protocol/ingest/publish-session.ts';

/**
 * One unit of what a broadcaster sends, after the ingest has checked it: timestamps are unwrapped, start near 0 for a
 * timeline, never step back and never jump; frames come only from the publisher that was accepted.
 */
export type IngestPacket =
  | {
      readonly kind: 'video';
      /** The AVCDecoderConfigurationRecord instead of a frame; sent before the first frame and when it changes. */
      readonly sequenceHeader: boolean;
      readonly keyframe: boolean;
      readonly dtsMs: number;
      /** Presentation time minus decoding time. */
      readonly compositionOffsetMs: number;
      /** Wall clock at which the last byte of the packet reached the ingest, ms since the Unix epoch. */
      readonly arrivalUtcMs: number;
      /** The body of the FLV video tag, header bytes included. */
      readonly flvBody: Uint8Array;
    }
  | {
      readonly kind: 'audio';
      /** The AudioSpecificConfig instead of a frame. */
      readonly sequenceHeader: boolean;
      readonly dtsMs: number;
      readonly arrivalUtcMs: number;
      /** The body of the FLV audio tag, header bytes included. */
      readonly flvBody: Uint8Array;
    }
  /** onMetaData: what the encoder claims. Numbers, strings and booleans only; nothing in it is trusted. */
  | { readonly kind: 'metadata'; readonly values: Readonly<Record<string, number | string | boolean>> }
  /** The timestamps jumped or the codec changed: what follows is a new timeline. */
  | { readonly kind: 'break'; readonly reason: 'timestamp_jump' | 'codec_change' };

/** Why the packets of a publish came to their end. */
export type PublishEnd = 'unpublished' | 'lost' | 'revoked' | 'error';

/** An accepted broadcaster, as a worker sees it. */
export type IncomingPublish = {
  readonly grant: PublishGrant;
  /**
   * The packets from the newest key frame that the ingest has kept; a worker that lost its reading may ask again. Ends when the broadcaster has gone or `signal`
   * aborts. Bounded: a reader that falls behind by more than the ingest's backlog limit gets an error.
   */
  packets(signal: AbortSignal): AsyncIterable<IngestPacket>;
  /** Resolves when the broadcaster has gone. */
  readonly ended: Promise<PublishEnd>;
};
