import fc from 'fast-check';
import * as HLS from 'hls-parser';
import { describe, expect, it } from 'vitest';
import { writeMediaPlaylist, type MediaPlaylist } from '#protocol/hls/media-playlist.ts';
import type { MediaSegment } from '#protocol/hls/media-segment.ts';
import type { PartialSegment } from '#protocol/hls/partial-segment.ts';

HLS.setOptions({ strictMode: true });

const CONSTANTS = { targetDurationS: 2, partTargetMs: 342 };
const TIMESCALE = 90_000;
const PARTS = 6;

/** What a random segment of a long broadcast is like. */
type Plan = {
  readonly kind: 'media' | 'holey' | 'gap';
  readonly discontinuity: boolean;
  readonly short: boolean;
};
const plan = fc.record<Plan>({
  kind: fc.constantFrom('media', 'media', 'media', 'holey', 'gap'),
  discontinuity: fc.constantFrom(false, false, false, true),
  short: fc.constantFrom(false, false, false, true),
});

/** A broadcast of which any stretch can be listed as a live playlist. */
class Broadcast {
  readonly #segments: MediaSegment[] = [];
  readonly #discontinuities: number[] = [];
  readonly firstMsn: number;

  constructor(plans: readonly Plan[], firstMsn: number) {
    this.firstMsn = firstMsn;
    let startMs = Date.UTC(2026, 0, 1);
    let [timeline, discontinuities] = [0, 0];
    for (const [index, { kind, discontinuity, short }] of plans.entries()) {
      const msn = firstMsn + index;
      if (discontinuity && index > 0) [timeline, discontinuities] = [timeline + 1, discontinuities + 1];
      const count = short ? 2 : PARTS;
      const parts = Array.from({ length: count }, (_, part): PartialSegment => ({
        uri: `${msn}.${part}.m4s`,
        duration: { ticks: TIMESCALE / 3, timescale: TIMESCALE },
        independent: part === 0,
        gap: kind === 'gap' || (kind === 'holey' && part === 1),
      }));
      this.#segments.push({
        uri: `${msn}.m4s`,
        duration: { ticks: (count * TIMESCALE) / 3, timescale: TIMESCALE },
        gap: kind === 'gap',
        discontinuity: discontinuity && index > 0,
        mapUri: `init-${timeline}.mp4`,
        programDateTimeMs: startMs,
        parts,
      });
      this.#discontinuities.push(discontinuities);
      startMs += (count * 1000) / 3;
    }
  }

  get length(): number {
    return this.#segments.length;
  }

  /** Lists the segments `from` to `to` and the first `openParts` parts of the next one. */
  list(from: number, to: number, openParts: number): MediaPlaylist {
    const next = this.#segments[to];
    const first = this.#segments[from];
    const listed = this.#segments.slice(from, to);
    return {
      constants: CONSTANTS,
      mediaSequence: this.firstMsn + from,
      discontinuitySequence: (this.#discontinuities[from] ?? 0) - (first?.discontinuity === true ? 1 : 0),
      segments: listed.map((segment, index) =>
        index < listed.length - 2 ? { ...segment, parts: [] } : segment,
      ),
      open: next === undefined ? undefined : { ...next, parts: next.parts.slice(0, openParts) },
      preloadHints: [{ type: 'PART', uri: `${this.firstMsn + to}.${openParts}.m4s` }],
      renditionReports: [{ uri: '../audio/index.m3u8', lastMsn: this.firstMsn + to, lastPart: openParts }],
      ended: false,
    };
  }
}

function parse(text: string): HLS.types.MediaPlaylist {
  const playlist = HLS.parse(text);
  if (playlist.isMasterPlaylist) throw new Error('not a media playlist');
  return playlist;
}

/** What a client knows of one segment. */
type Known = ReturnType<typeof known>;
function known(segment: HLS.types.Segment) {
  return {
    msn: segment.mediaSequenceNumber,
    uri: segment.uri,
    duration: segment.duration,
    gap: segment.gap ?? false,
    discontinuity: segment.discontinuity ?? false,
    map: segment.map?.uri,
    date: segment.programDateTime?.getTime(),
    parts: segment.parts.filter(({ hint }) => !hint).map(({ uri, gap }) => `${uri} ${gap ?? false}`),
  };
}

/** A playlist as a client holds it after merging an update into what it had. @spec rfc8216bis §6.3.7 */
function merge(before: readonly Known[], update: HLS.types.MediaPlaylist): Known[] {
  const byMsn = new Map(before.map((segment) => [segment.msn, segment]));
  const base = update.mediaSequenceBase ?? 0;
  const skipped = Array.from({ length: update.skip }, (_, index) => {
    const segment = byMsn.get(base + index);
    if (segment === undefined) throw new Error(`the update skips ${base + index}, which was never seen`);
    return { ...segment, parts: [] };
  });
  return [...skipped, ...update.segments.map(known)];
}

/** Discontinuity Sequence Numbers as a client derives them. @spec rfc8216bis §6.2.1 */
function discontinuityNumbers(base: number, segments: readonly Known[]): number[] {
  let number = base;
  return segments.map(({ discontinuity }) => (number += discontinuity ? 1 : 0));
}

const broadcast = fc
  .tuple(fc.array(plan, { minLength: 30, maxLength: 60 }), fc.integer({ min: 1, max: 1e9 }))
  .map(([plans, firstMsn]) => new Broadcast(plans, firstMsn));
/** Two versions of a playlist, the later one at most half a Skip Boundary on. */
const versions = fc
  .tuple(broadcast, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat({ max: 3 }), fc.nat({ max: 2 }))
  .chain(([show, share, steps, evicted]) => {
    const to = 6 + Math.floor(share * (show.length - 6 - steps));
    return fc.record({
      before: fc.integer({ min: 0, max: Math.floor((to - 6) / 2) }).map((from) => ({ from, to })),
      openParts: fc.nat({ max: PARTS - 1 }),
      show: fc.constant(show),
      steps: fc.constant(steps),
      evicted: fc.constant(evicted),
    });
  });

describe('media playlists of random broadcasts', () => {
  it('are accepted by a strict parser, in full and as updates', () => {
    fc.assert(
      fc.property(versions, ({ show, before, openParts }) => {
        const playlist = show.list(before.from, before.to, openParts);
        for (const form of ['full', 'delta', 'delta-v2'] as const) {
          const parsed = parse(writeMediaPlaylist(playlist, form));
          expect(parsed.mediaSequenceBase).toBe(playlist.mediaSequence);
          expect(parsed.targetDuration).toBe(2);
          expect(parsed.partTargetDuration).toBe(0.342);
          expect(parsed.lowLatencyCompatibility?.partHoldBack).toBeCloseTo(3 * 0.342, 9);
        }
        expect(parse(writeMediaPlaylist({ ...playlist, ended: true })).endlist).toBe(true);
      }),
      { verbose: 1 },
    );
  });

  it('come out the same whether loaded in full or merged from an update, discontinuities included', () => {
    let updatesThatSkip = 0;
    fc.assert(
      fc.property(versions, ({ show, before, openParts, steps, evicted }) => {
        const seen = parse(writeMediaPlaylist(show.list(before.from, before.to, openParts)));
        const from = Math.min(before.from + evicted, before.to - 3);
        const now = show.list(from, before.to + steps, openParts);
        const full = parse(writeMediaPlaylist(now));
        for (const form of ['delta', 'delta-v2'] as const) {
          const update = parse(writeMediaPlaylist(now, form));
          updatesThatSkip += update.skip > 0 ? 1 : 0;
          const merged = merge(seen.segments.map(known), update);
          expect(merged).toEqual(full.segments.map(known));
          expect(update.discontinuitySequenceBase).toBe(full.discontinuitySequenceBase);
          expect(discontinuityNumbers(update.discontinuitySequenceBase ?? 0, merged)).toEqual(
            discontinuityNumbers(full.discontinuitySequenceBase ?? 0, full.segments.map(known)),
          );
        }
      }),
      { verbose: 1 },
    );
    expect(updatesThatSkip).toBeGreaterThan(0);
  });
});
