import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limitEjections, type EjectionCandidate } from '#steering/health/ejection-limit.ts';

const cdn = (name: string, fallen: boolean, hard = true, sinceMs = 0): EjectionCandidate => ({
  cdn: name,
  fallen,
  hard,
  sinceMs,
});

describe('limitEjections', () => {
  it('ejects the fallen within the share', () => {
    const verdict = limitEjections([cdn('a', true), cdn('b', false), cdn('c', true)], 0.67);
    expect([...verdict.ejected].sort()).toEqual(['a', 'c']);
    expect(verdict.panic).toBe(false);
  });

  it('spares the least bad beyond the share: the slow before the dead, the newly fallen before the old', () => {
    const verdict = limitEjections(
      [cdn('a', true, false, 1), cdn('b', true, true, 9), cdn('c', true, true, 5), cdn('d', false)],
      0.5,
    );
    expect([...verdict.ejected].sort()).toEqual(['b', 'c']);
    expect([...verdict.spared]).toEqual(['a']);
  });

  it('panics when all have failed, and ejects nobody', () => {
    const verdict = limitEjections([cdn('a', true), cdn('b', true)], 1);
    expect(verdict).toEqual({ ejected: new Set(), spared: new Set(['a', 'b']), panic: true });
    expect(limitEjections([cdn('a', true)], 1).ejected.size).toBe(0);
  });

  it('carries on with a slow one when the others are dead', () => {
    const verdict = limitEjections([cdn('a', true, true), cdn('b', true, false)], 1);
    expect([...verdict.ejected]).toEqual(['a']);
    expect(verdict.panic).toBe(false);
  });

  it('is calm about nobody', () => {
    expect(limitEjections([], 0.5)).toEqual({ ejected: new Set(), spared: new Set(), panic: false });
  });

  it('never ejects the last one, whoever has fallen', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.record({
            cdn: fc.string({ minLength: 1, maxLength: 3 }),
            fallen: fc.boolean(),
            hard: fc.boolean(),
            sinceMs: fc.nat(),
          }),
          { minLength: 1, maxLength: 20, selector: (candidate) => candidate.cdn },
        ),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (candidates, share) => {
          const { ejected, spared } = limitEjections(candidates, share);
          expect(ejected.size).toBeLessThan(candidates.length);
          expect(ejected.size).toBeLessThanOrEqual(Math.max(1, Math.floor(candidates.length * share + 1e-9)));
          const fallen = candidates.filter((candidate) => candidate.fallen).map((candidate) => candidate.cdn);
          expect([...ejected, ...spared].sort()).toEqual(fallen.sort());
        },
      ),
    );
  });
});
