import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PlaylistHistory } from '#origin/live/testing/playlist-history.ts';
import { parseStrictly } from '#origin/live/testing/strict-parser.ts';
import { audioRendition, makePresentation, videoRendition } from '#origin/live/testing/synthetic-media.ts';
import { TestPublisher, createTestOrigin } from '#origin/live/testing/test-publisher.ts';

const never = { signal: new AbortController().signal };
const IDS = ['720p', '360p', '240p', 'audio'];
const FPS_25 = { numerator: 25, denominator: 1 };
const FPS_2997 = { numerator: 30_000, denominator: 1_001 };

/** Ladders and grids that a stream may go through. */
const PRESENTATIONS = [
  makePresentation(),
  makePresentation({ renditions: [videoRendition('720p', 3_000_000), audioRendition()] }),
  makePresentation({
    renditions: [videoRendition('720p', 2_000_000), videoRendition('240p', 300_000), audioRendition()],
  }),
  makePresentation({
    renditions: [videoRendition('720p', 3_000_000, FPS_25), audioRendition('audio', 44_100)],
  }),
  makePresentation({ renditions: [videoRendition('720p', 3_000_000, FPS_2997), audioRendition()] }),
  makePresentation({ segmentDurationMs: 1_000, partDurationMs: 200 }),
];

/** Things that happen to a stream. */
type Event =
  | { readonly kind: 'parts'; readonly count: number; readonly of?: readonly string[] }
  | { readonly kind: 'lost parts'; readonly count: number }
  | { readonly kind: 'timeline'; readonly presentation: number; readonly clockSkewMs: number }
  | { readonly kind: 'session'; readonly presentation: number; readonly clockSkewMs: number }
  | { readonly kind: 'end'; readonly reason: 'unpublished' | 'lost' | 'revoked' | 'error' }
  | { readonly kind: 'silence'; readonly ms: number }
  | { readonly kind: 'wall clock step'; readonly ms: number };

const presentation = fc.nat({ max: PRESENTATIONS.length - 1 });
const clockSkewMs = fc.constantFrom(-3_600_000, -700, -300, 0, 0, 0, 400, 5_000);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('parts'), count: fc.integer({ min: 1, max: 30 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('parts'),
      count: fc.integer({ min: 1, max: 12 }),
      of: fc.subarray(IDS, { minLength: 1 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('lost parts'), count: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('timeline'), presentation, clockSkewMs }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('session'), presentation, clockSkewMs }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('end'),
      reason: fc.constantFrom('unpublished', 'lost', 'lost', 'revoked', 'error'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('silence'), ms: fc.integer({ min: 1, max: 15_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('wall clock step'),
      ms: fc.integer({ min: -5_000, max: 5_000 }),
    }),
  },
);

/** Plays the events and looks at everything after each. */
class Run {
  readonly #origin = createTestOrigin();
  readonly #histories = new Map<string, PlaylistHistory>();
  readonly #firstMsns: number[] = [];
  /** How often everything was looked at. */
  checks = 0;
  #fencingToken = 1;
  #publisher = new TestPublisher(this.#origin, { reconnectWindowMs: 12_000, liveWindowMs: 20_000 });
  #isOver = false;

  start(): void {
    this.#publisher.begin();
    this.#noteTimeline();
  }

  play(happening: Event): void {
    switch (happening.kind) {
      case 'parts':
        if (this.#isOver) return;
        this.#putEach(happening.count, happening.of);
        return;
      case 'lost parts':
        this.#publisher.loseCells(happening.count);
        return;
      case 'timeline':
        if (this.#isOver) return;
        this.#begin(happening);
        return;
      case 'session':
        this.#fencingToken += 1;
        this.#publisher = new TestPublisher(this.#origin, {
          fencingToken: this.#fencingToken,
          reconnectWindowMs: 12_000,
          liveWindowMs: 20_000,
        });
        this.#isOver = false;
        this.#begin(happening);
        return;
      case 'end':
        this.#origin.streams.sessionEnded('show', this.#publisher.sessionId, happening.reason);
        this.#isOver = true;
        return;
      case 'silence':
        this.#origin.clock.advance(happening.ms);
        return;
      case 'wall clock step':
        this.#origin.clock.stepWallClock(happening.ms);
        return;
    }
  }

  async check(): Promise<void> {
    const discontinuities = new Map<number, Set<boolean>>();
    for (const id of IDS) {
      const snapshot = this.#publisher.stream.snapshot(id);
      if (snapshot?.edge === undefined) continue;
      const text = new TextDecoder().decode(snapshot.rendered('full').identity);
      this.#historyOf(id).take(text);
      parseStrictly(new TextDecoder().decode(snapshot.rendered('delta').identity));
      const { segments, mediaSequenceBase } = parseStrictly(text);
      await this.#fetchEverything(id, segments);
      for (const { mediaSequenceNumber: msn, discontinuity, uri } of segments)
        // Where a rendition begins, there is nothing that it could be discontinuous to.
        if (uri !== '' && msn !== mediaSequenceBase)
          discontinuities.set(msn, (discontinuities.get(msn) ?? new Set()).add(discontinuity ?? false));
    }
    for (const [msn, answers] of discontinuities)
      assert.equal(answers.size, 1, `only some renditions have a discontinuity before ${msn}`);
    const growing = [...new Set(this.#firstMsns)].toSorted((a, b) => a - b);
    assert.deepEqual(this.#firstMsns, growing, 'timelines must get larger and larger numbers');
    this.checks += 1;
  }

  /** Everything that is listed can be had. */
  async #fetchEverything(id: string, segments: ReturnType<typeof parseStrictly>['segments']): Promise<void> {
    const { playback } = this.#publisher.stream;
    for (const { uri, gap, map, parts, mediaSequenceNumber: msn } of segments) {
      if (uri !== '' && gap !== true) playback.segment(id, msn);
      if (map !== undefined && map !== null && !map.hint)
        await playback.init(id, Number(/\d+/.exec(map.uri)?.[0]), never);
      for (const [index, part] of parts.entries())
        if (!part.hint && part.gap !== true) await playback.part(id, msn, index, never);
    }
  }

  #begin(happening: { presentation: number; clockSkewMs: number }): void {
    const plan = PRESENTATIONS[happening.presentation];
    if (plan === undefined) throw new Error('no such presentation');
    this.#publisher.begin({
      presentation: plan,
      anchorUtcMs: this.#origin.clock.nowMs() + happening.clockSkewMs,
    });
    this.#noteTimeline();
  }

  #noteTimeline(): void {
    this.#firstMsns.push(this.#publisher.grant.firstMsn);
  }

  #putEach(count: number, of?: readonly string[]): void {
    const ids = this.#publisher.presentation.renditions.map(({ id }) => id);
    this.#publisher.putCells(count, of === undefined ? ids : ids.filter((id) => of.includes(id)));
  }

  #historyOf(id: string): PlaylistHistory {
    const history = this.#histories.get(id) ?? new PlaylistHistory();
    this.#histories.set(id, history);
    return history;
  }
}

describe('whatever happens to a stream', () => {
  it('its playlists are valid, keep every promise, and everything they list is there', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 25 }), async (events) => {
        const run = new Run();
        run.start();
        for (const happening of events) {
          run.play(happening);
          await run.check();
        }
        expect(run.checks).toBe(events.length);
      }),
      { numRuns: 60, verbose: 1 },
    );
  });
});
