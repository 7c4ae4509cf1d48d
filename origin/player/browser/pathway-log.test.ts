import { describe, expect, it } from 'vitest';
import { PATHWAY_LOG_ENTRIES_MAX, PATHWAY_LOG_WINDOW_MS, PathwayLog, reasonText } from './pathway-log.ts';

const START = { kind: 'start' } as const;
const STEERING = { kind: 'steering' } as const;
const UNKNOWN = { kind: 'unknown' } as const;

describe('the log of pathways', () => {
  it('knows the pathway now, and ends a span where the next begins', () => {
    const log = new PathwayLog();
    expect(log.current).toBeUndefined();
    log.use('north', START, 0);
    log.use('north', STEERING, 50);
    log.use('south', STEERING, 100);
    expect(log.current).toBe('south');
    expect(log.spans).toEqual([
      { pathway: 'north', sinceMs: 0, untilMs: 100, reason: START },
      { pathway: 'south', sinceMs: 100, untilMs: undefined, reason: STEERING },
    ]);
  });

  it('takes an error as the reason of a switch that had none, and of no other', () => {
    const log = new PathwayLog();
    log.use('north', START, 0);
    log.explain({ details: 'fragLoadError', status: 503 });
    expect(log.spans[0]?.reason).toEqual(START);
    log.use('south', UNKNOWN, 100);
    log.explain({ details: 'fragLoadError', status: 503 });
    log.explain({ details: 'levelLoadError', status: 404 });
    expect(log.spans[1]?.reason).toEqual({ kind: 'error', error: { details: 'fragLoadError', status: 503 } });
  });

  it('notes each stall once, from its beginning to its end', () => {
    const log = new PathwayLog();
    for (const [isStalled, nowMs] of [
      [false, 0],
      [true, 100],
      [true, 200],
      [false, 300],
      [false, 400],
      [true, 500],
    ] as const)
      log.stalled(isStalled, nowMs);
    expect(log.stalls).toEqual([
      { sinceMs: 100, untilMs: 300 },
      { sinceMs: 500, untilMs: undefined },
    ]);
    log.end(700);
    expect(log.stalls.at(-1)?.untilMs).toBe(700);
  });

  it('forgets what ended before its window, and keeps the span that reaches into it', () => {
    const log = new PathwayLog();
    log.use('north', START, 0);
    log.use('south', STEERING, 1_000);
    log.use('west', STEERING, PATHWAY_LOG_WINDOW_MS + 2_000);
    expect(log.spans.map(({ pathway }) => pathway)).toEqual(['south', 'west']);
    expect(log.dropped).toBe(0);
  });

  it('is bounded when pathways flap, and counts what it dropped', () => {
    const log = new PathwayLog();
    for (let index = 0; index < PATHWAY_LOG_ENTRIES_MAX + 5; index++)
      log.use(index % 2 === 0 ? 'north' : 'south', STEERING, index);
    expect(log.spans).toHaveLength(PATHWAY_LOG_ENTRIES_MAX);
    expect(log.dropped).toBe(5);
    log.clear();
    expect(log.spans).toEqual([]);
  });
});

describe('a reason in words', () => {
  it.each([
    [START, 'playback began'],
    [STEERING, 'the steering server said so'],
    [UNKNOWN, 'the player chose it'],
    [{ kind: 'error', error: { details: 'fragLoadError', status: 503 } }, 'north answered 503'],
    [{ kind: 'error', error: { details: 'levelLoadError', status: 0 } }, 'no connection to north'],
    [
      { kind: 'error', error: { details: 'levelLoadTimeOut', status: 0 } },
      'north was too slow or did not answer',
    ],
    [{ kind: 'error', error: { details: 'playlistUnchangedError', status: 200 } }, 'north stood still'],
    [{ kind: 'error', error: { details: 'fragParsingError', status: 0 } }, 'north failed (fragParsingError)'],
  ] as const)('%o: %s', (reason, text) => {
    expect(reasonText(reason, 'north')).toBe(text);
  });
});
