import type { CmafSample } from '#protocol/cmaf/fragment.ts';
import type { IngestPacket } from '#transcoder/ingest/incoming-publish.ts';
import { CopiedTrack } from '#transcoder/cutter/copied-track.ts';
import type { CutInit, CutPart } from '#transcoder/cutter/cut-part.ts';
import { EncodedTrack } from '#transcoder/cutter/encoded-track.ts';
import { TrackCutter } from '#transcoder/cutter/track-cutter.ts';
import type { LadderPlan, PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';
import type { SourceProfile } from '#transcoder/ladder/source-profile.ts';
import type { GapPart } from '#transcoder/publisher/part-publisher.ts';

/** What comes out of the tracks of a timeline. */
export type TrackEvents = {
  init(init: CutInit): void;
  part(part: CutPart): void;
  /** A part that will never come, at the end of a timeline. */
  gap(gap: GapPart): void;
  /** A rendition has frames up to that media time. */
  progress(renditionId: string, mediaMs: number): void;
  /** When the last frame that begins before that media time reached the ingest. */
  arrivalBefore(rendition: PlannedRendition, mediaMs: number): number;
};

/** Most gaps that bring one rendition to the end of the others. */
const CLOSING_GAPS_MAX = 60;

/** All tracks of one timeline: takes the encoder's bytes and the broadcaster's frames, gives init segments and parts. */
export class TimelineTracks {
  readonly #plan: LadderPlan;
  readonly #events: TrackEvents;
  readonly #cutters = new Map<string, TrackCutter>();
  readonly #encoded = new Map<string, EncodedTrack>();
  readonly #copied: CopiedTrack | undefined;

  constructor(plan: LadderPlan, source: SourceProfile, events: TrackEvents) {
    this.#plan = plan;
    this.#events = events;
    let copied: CopiedTrack | undefined;
    for (const rendition of plan.renditions) {
      const listener = {
        init: (init: CutInit) => this.#takeInit(rendition, init),
        sample: (sample: CmafSample) => this.#takeSample(rendition, sample),
      };
      if (rendition.mode === 'encode') this.#encoded.set(rendition.id, new EncodedTrack(rendition, listener));
      else if (source.video !== undefined)
        copied = new CopiedTrack(rendition, source.video, plan.grid, listener);
    }
    this.#copied = copied;
  }

  /** Bytes from the encoder's socket of a rendition. @throws {TranscodeError} */
  pushEncoded(renditionId: string, chunk: Uint8Array): void {
    this.#encoded.get(renditionId)?.push(chunk);
  }

  /** A frame of the broadcaster, for a rendition that copies it. @throws {TranscodeError} */
  pushSource(packet: IngestPacket & { kind: 'video' }, decodingMs: number, presentationMs: number): void {
    this.#copied?.push(packet, decodingMs, presentationMs);
  }

  /**
   * Ends all renditions at the same part: what is open becomes a last, short part, and a rendition that is behind gets
   * gaps up to there. The end is that of the video; the few audio frames that an encoder adds behind it would only make
   * a part without a picture.
   */
  finish(): void {
    this.#copied?.end();
    const cutters = this.#plan.renditions.flatMap(({ id, kind }) => {
      const cutter = this.#cutters.get(id);
      return cutter === undefined ? [] : [{ id, kind, cutter }];
    });
    const leading = cutters.some(({ kind }) => kind === 'video') ? 'video' : 'audio';
    const ends = cutters.map(({ kind, cutter }) =>
      kind === leading && cutter.hasOpenFrames ? cutter.openCell + 1 : cutter.openCell,
    );
    const end = Math.max(0, ...ends);
    const endsInside = cutters.some(
      ({ kind, cutter }) => kind === leading && cutter.hasOpenFrames && cutter.openCell === end - 1,
    );
    for (const { id, cutter } of cutters) {
      if (cutter.openCell < end) cutter.flush(endsInside && cutter.openCell === end - 1);
      const first = cutter.openCell;
      for (let cell = first; cell < Math.min(end, first + CLOSING_GAPS_MAX); cell++)
        this.#events.gap(gapAt(id, cutter, cell, endsInside && cell === end - 1));
    }
  }

  #takeInit(rendition: PlannedRendition, init: CutInit): void {
    const cutter = new TrackCutter({
      rendition,
      grid: this.#plan.grid,
      trackId: init.track.trackId,
      arrivalBefore: (endTicks) =>
        this.#events.arrivalBefore(rendition, (endTicks * 1000) / rendition.timescale),
      emit: (part) => this.#events.part(part),
    });
    this.#cutters.set(rendition.id, cutter);
    this.#events.init(init);
  }

  #takeSample(rendition: PlannedRendition, sample: CmafSample): void {
    const cutter = this.#cutters.get(rendition.id);
    if (cutter === undefined) return;
    cutter.push(sample);
    this.#events.progress(rendition.id, (cutter.endTicks * 1000) / rendition.timescale);
  }
}

function gapAt(renditionId: string, cutter: TrackCutter, cell: number, last: boolean): GapPart {
  const { grid } = cutter;
  const startTicks = grid.cellStartTicks(cell);
  return {
    renditionId,
    ...grid.positionOf(cell),
    startTicks,
    durationTicks: grid.cellStartTicks(cell + 1) - startTicks,
    last: last || grid.isLastOfSegment(cell),
  };
}
