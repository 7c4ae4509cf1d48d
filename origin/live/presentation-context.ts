import type { LiveRendition, RenditionContext } from '#origin/live/live-rendition.ts';
import type { Candidate } from '#origin/live/part-candidates.ts';
import type { PlacedOutcome } from '#origin/live/part-placement.ts';

/** What a presentation needs of its stream. */
export type PresentationContext = RenditionContext & {
  /** A candidate has been listed, now or after it had waited. */
  onListed(rendition: LiveRendition, candidate: Candidate, outcome: PlacedOutcome): void;
  /** Bytes that wait to be listed have become more, or fewer when negative. */
  onWaitingBytes(bytes: number): void;
  /** Whether players who are sent away have nowhere to go. */
  isLastOrigin(): boolean;
};
