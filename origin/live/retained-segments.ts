import type { InitSection, LiveSegment } from '#origin/live/live-segment.ts';

type Retained = { readonly segment: LiveSegment; readonly untilMs: number };

/**
 * Segments that have left their playlists and must still be served for a while. @spec rfc8216bis §6.2.2, Availability
 * Duration
 */
export class RetainedSegments {
  readonly #byName = new Map<string, Retained>();

  /** @param untilMs monotonic time from which it is gone */
  add(renditionId: string, segment: LiveSegment, untilMs: number): void {
    this.#byName.set(nameOf(renditionId, segment.msn), { segment, untilMs });
  }

  /** The segment, if its time has not run out. */
  find(renditionId: string, msn: number, nowMs: number): LiveSegment | undefined {
    const retained = this.#byName.get(nameOf(renditionId, msn));
    return retained === undefined || retained.untilMs <= nowMs ? undefined : retained.segment;
  }

  /** The init segment of a timeline, if a retained segment needs it. */
  findInit(renditionId: string, timeline: number): InitSection | undefined {
    for (const [name, { segment }] of this.#byName)
      if (name.startsWith(`${renditionId}/`) && segment.origin.init?.timeline === timeline)
        return segment.origin.init;
    return undefined;
  }

  /** Drops what has run out; returns its bytes. */
  dropExpired(nowMs: number): number {
    let bytes = 0;
    for (const [name, { segment, untilMs }] of this.#byName) {
      if (untilMs > nowMs) continue;
      this.#byName.delete(name);
      bytes += segment.mediaBytes;
    }
    return bytes;
  }

  /** Drops the one that was added first, before its time; undefined when there is none. */
  dropOldest(): LiveSegment | undefined {
    for (const [name, { segment }] of this.#byName) {
      this.#byName.delete(name);
      return segment;
    }
    return undefined;
  }
}

const nameOf = (renditionId: string, msn: number): string => `${renditionId}/${msn}`;
