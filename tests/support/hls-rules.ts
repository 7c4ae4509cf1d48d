import { checkHistory } from '#tests/support/hls-rules/history-rules.ts';
import { checkMultivariant } from '#tests/support/hls-rules/multivariant-rules.ts';
import { checkPeers } from '#tests/support/hls-rules/peer-rules.ts';
import { checkResources } from '#tests/support/hls-rules/resource-rules.ts';
import { checkPlaylist } from '#tests/support/hls-rules/static-rules.ts';
import { Violations, type Violation } from '#tests/support/hls-rules/violation.ts';
import type { RecordedRun } from '#tests/support/recorded-run.ts';

export type { Violation } from '#tests/support/hls-rules/violation.ts';

/**
 * Judges a recorded run by the rules of low-latency HLS that a strict parser of single playlists cannot know: promises
 * over time, between playlists, and between playlists and media. Empty when nothing is wrong.
 */
export function checkRun(run: RecordedRun): Violation[] {
  const found = new Violations();
  checkMultivariant(run, found);
  checkPeers(run, found);
  for (const rendition of run.renditions) {
    for (const { playlist } of rendition.answers)
      if (playlist !== undefined) checkPlaylist(playlist, rendition.url, found);
    checkHistory(rendition, found);
    checkResources(rendition, found);
  }
  return found.all;
}
