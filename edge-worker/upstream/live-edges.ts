import type { PlaybackTarget } from '#edge-worker/http/playback-path.ts';
import { newestPart, type ReadMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';

/** Renditions that are remembered; the one heard of longest ago is forgotten. */
const RENDITIONS_MAX = 4_096;
/** Of a rendition that nothing is known of: its held request may be answered this late. */
const UNKNOWN_HOLD_MS = 4_000;

type LiveEdge = {
  readonly msn: number;
  readonly part: number;
  readonly partTargetMs: number;
  readonly targetDurationMs: number;
  readonly seenAtMs: number;
};

/** How far each rendition has come, by the playlists that passed through: it says when the next part is due. */
export class LiveEdges {
  readonly #edges = new Map<string, LiveEdge>();

  /** Takes note of a playlist that has just been received. */
  saw(streamId: string, renditionId: string, playlist: ReadMediaPlaylist, nowMs: number): void {
    const newest = newestPart(playlist);
    const { partTargetS } = playlist;
    if (newest === undefined || partTargetS === undefined) return;
    const key = keyOf(streamId, renditionId);
    const known = this.#edges.get(key);
    const ended = newest.part === Number.MAX_SAFE_INTEGER;
    const msn = ended ? newest.msn + 1 : newest.msn;
    const part = ended ? -1 : newest.part;
    // Seen again is not new: what counts is when a part came first.
    if (known !== undefined && (known.msn > msn || (known.msn === msn && known.part >= part))) return;
    this.#edges.delete(key);
    this.#edges.set(key, {
      msn,
      part,
      partTargetMs: partTargetS * 1_000,
      targetDurationMs: playlist.targetDurationS * 1_000,
      seenAtMs: nowMs,
    });
    const oldest = this.#edges.keys().next().value;
    if (this.#edges.size > RENDITIONS_MAX && oldest !== undefined) this.#edges.delete(oldest);
  }

  /** How long an origin may rightly hold a request for `target`, ms; 0 when it is there already. */
  dueInMs(target: PlaybackTarget, nowMs: number): number {
    const wanted = positionOf(target);
    if (wanted === undefined) return 0;
    const edge =
      target.kind === 'multivariant'
        ? undefined
        : this.#edges.get(keyOf(target.streamId, target.renditionId));
    if (edge === undefined) return UNKNOWN_HOLD_MS;
    const partsPerSegment = Math.max(1, Math.ceil(edge.targetDurationMs / edge.partTargetMs));
    const part = wanted.part ?? partsPerSegment - 1;
    const parts = (wanted.msn - edge.msn) * partsPerSegment + part - edge.part;
    if (parts <= 0) return 0;
    const dueMs = parts * edge.partTargetMs - (nowMs - edge.seenAtMs);
    return Math.min(Math.max(0, dueMs), 3 * edge.targetDurationMs);
  }
}

/** What a request waits for; undefined when it is never held. A stream that begins holds its multivariant playlist. */
function positionOf(target: PlaybackTarget): { msn: number; part: number | undefined } | undefined {
  switch (target.kind) {
    case 'multivariant':
      return { msn: 0, part: 0 };
    case 'playlist':
      return target.directives.block;
    case 'media':
      return target.file.kind === 'part' ? { msn: target.file.msn, part: target.file.part } : undefined;
  }
}

function keyOf(streamId: string, renditionId: string): string {
  return `${streamId}/${renditionId}`;
}
