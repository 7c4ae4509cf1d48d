import type { Presentation, RenditionDescription } from '#protocol/ingest/publish-session.ts';
import { TranscodeError } from '#transcoder/transcode-error.ts';
import type { CutInit } from '#transcoder/cutter/cut-part.ts';
import type { LadderPlan, PlannedRendition } from '#transcoder/ladder/ladder-plan.ts';

/**
 * What the origin must know before the first part: the plan, and the codecs as the encoders have made them.
 *
 * @param inits one per rendition of the plan
 * @throws {TranscodeError} `fragment_invalid` when an init segment is not that of its rendition
 */
export function describePresentation(plan: LadderPlan, inits: ReadonlyMap<string, CutInit>): Presentation {
  const { segmentDuration, partsPerSegment, partTargetMs, targetDurationS } = plan.grid;
  return {
    segmentDuration: { ...segmentDuration },
    partsPerSegment,
    partTargetMs,
    targetDurationS,
    renditions: plan.renditions.map((rendition) => describeRendition(rendition, inits.get(rendition.id))),
  };
}

function describeRendition(rendition: PlannedRendition, init: CutInit | undefined): RenditionDescription {
  const { id, bitrateBps, timescale } = rendition;
  const track = init?.track;
  if (track === undefined || track.kind !== rendition.kind)
    throw new TranscodeError('fragment_invalid', `${id}: there is no init segment of its kind`);
  const base = { id, bitrateBps, timescale, codecs: track.codecs };
  if (rendition.kind === 'audio') {
    const { channels, sampleRateHz } = rendition;
    return { ...base, kind: 'audio', channels, sampleRateHz };
  }
  const { width, height, frameRate } = rendition;
  return { ...base, kind: 'video', width, height, frameRate: { ...frameRate } };
}
