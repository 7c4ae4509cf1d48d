import type { PartPosition } from '#bench/hls/live-edge.ts';
import { followRendition, type PlaylistAnswer } from '#bench/hls/rendition-follower.ts';
import type { FrameTimes } from '#bench/source/broadcaster.ts';

/** A part, when its last frame left the broadcaster, and when a client that waited for it had it listed. */
export type PartAvailability = PartPosition & {
  readonly rendition: string;
  /** The frame that closes the part, counted from the first of the broadcast. */
  readonly lastFrame: number;
  readonly ingestAtMs: number;
  readonly listedAtMs: number;
  /** What PROGRAM-DATE-TIME says of the time at which the last frame reached the ingest. */
  readonly programDateTimeMs: number;
};

/** A part as it was first seen in a playlist. */
type ListedAt = PartPosition & {
  readonly listedAtMs: number;
  /** Media time from the start of the broadcast to the end of the part. */
  readonly endS: number;
  readonly endDateMs: number;
};

/**
 * Waits for every part of a rendition with blocking reloads, beside the players, and notes when it came. It must be
 * started before the stream's first segment has left the window: media time is counted from there.
 */
export class PartWatch {
  readonly rendition: string;
  readonly #parts = new Map<string, ListedAt>();
  readonly #missed = new Set<string>();
  readonly #segmentStartS = new Map<number, number>();
  readonly #abort = new AbortController();
  readonly #followed: Promise<void>;
  #problem: string | undefined;

  constructor(url: string) {
    this.rendition = url.split('/').at(-2) ?? url;
    this.#followed = this.#follow(url);
  }

  /** Why no part is timed any more, e.g. after a discontinuity, from which on frames can no longer be counted. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Stops, and pairs the parts with the frames of the broadcaster. */
  async stop(frames: readonly FrameTimes[], frameRate: number): Promise<PartAvailability[]> {
    this.#abort.abort();
    await this.#followed;
    const byIndex = new Map(frames.map((frame) => [frame.index, frame]));
    return [...this.#parts.values()].flatMap(({ msn, part, listedAtMs, endS, endDateMs }) => {
      const lastFrame = Math.round(endS * frameRate) - 1;
      const frame = byIndex.get(lastFrame);
      if (frame === undefined) return [];
      return {
        rendition: this.rendition,
        msn,
        part,
        lastFrame,
        listedAtMs,
        ingestAtMs: frame.sentAtMs,
        programDateTimeMs: endDateMs - 1_000 / frameRate,
      };
    });
  }

  async #follow(url: string): Promise<void> {
    for await (const answer of followRendition(url, this.#abort.signal)) {
      const { playlist } = answer;
      if (playlist === undefined) this.#problem ??= `a reload was answered ${answer.status}`;
      else if (playlist.endlist) this.#problem ??= 'the playlist ended';
      else if (playlist.segments.some(({ discontinuity }) => discontinuity))
        this.#problem ??= 'the stream was interrupted (EXT-X-DISCONTINUITY)';
      if (playlist !== undefined && this.#problem === undefined) this.#take(answer, playlist);
    }
  }

  #take(answer: PlaylistAnswer, playlist: NonNullable<PlaylistAnswer['playlist']>): void {
    let startS = this.#segmentStartS.get(playlist.segments[0]?.msn ?? 0) ?? 0;
    for (const segment of playlist.segments) {
      this.#segmentStartS.set(segment.msn, startS);
      let endS = startS;
      for (const part of segment.parts) {
        endS += part.durationS;
        const key = `${part.msn}.${part.part}`;
        if (this.#parts.has(key) || this.#missed.has(key)) continue;
        // What was there before we came was not waited for: nobody knows since when.
        if (answer.asked === undefined) {
          this.#missed.add(key);
          continue;
        }
        const dateMs = segment.programDateTimeMs ?? Number.NaN;
        this.#parts.set(key, {
          msn: part.msn,
          part: part.part,
          listedAtMs: answer.answeredAtMs,
          endS,
          endDateMs: dateMs + (endS - startS) * 1_000,
        });
      }
      startS += segment.durationS ?? 0;
    }
  }
}
