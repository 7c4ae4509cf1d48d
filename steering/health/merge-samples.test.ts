import { describe, expect, it } from 'vitest';
import { mergeSamples } from '#steering/health/merge-samples.ts';
import type { ProbeReason, ProbeSample } from '#steering/probe/probe-sample.ts';

const sample = (score: number, verdict: ProbeSample['verdict'], ...reasons: ProbeReason[]): ProbeSample => ({
  cdn: 'a',
  streamId: 's',
  verdict,
  components: verdict === 'unjudged' ? {} : { hold: score, connect: 1 },
  reasons,
  atMs: 0,
  stagesMs: {},
});
const good = sample(1, 'measured');
const slow = sample(0.3, 'measured', 'late_part');
const dead = sample(0, 'failed', 'no_answer');
const unjudged = sample(0, 'unjudged');

describe('mergeSamples', () => {
  it.each<[string, ProbeSample[], { judged: boolean; score?: number; hard?: boolean }]>([
    ['nothing', [], { judged: false }],
    ['only unjudged ones', [unjudged, unjudged], { judged: false }],
    ['a single failure', [dead], { judged: true, score: 0, hard: true }],
    ['one of two failed', [dead, good], { judged: true, score: 1, hard: false }],
    ['two of three failed', [dead, dead, good], { judged: true, score: 0, hard: true }],
    ['one failed, one unjudged', [dead, unjudged], { judged: true, score: 0, hard: true }],
    ['two slow of three', [slow, good, slow], { judged: true, score: 0.3, hard: false }],
    ['one failed, two slow', [slow, dead, slow], { judged: true, score: 0.3, hard: false }],
  ])('of %s', (_, samples, expected) => {
    expect(mergeSamples(samples)).toMatchObject(expected);
  });

  it('shows components and the most frequent reasons', () => {
    const merged = mergeSamples([slow, dead, slow]);
    expect(merged.components).toEqual({ hold: 0.3, connect: 1 });
    expect(merged.reasons).toEqual(['late_part', 'no_answer']);
  });
});
