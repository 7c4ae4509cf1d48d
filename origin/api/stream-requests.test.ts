import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProblemError } from '#runtime/http/problem.ts';
import { ListQuery, toCursor } from '#origin/api/list-query.ts';
import { CreateStream, refuseImpossibleGrid, settingsOf, UpdateStream } from '#origin/api/stream-requests.ts';

describe('the cursor of a list', () => {
  it('leads back to the stream it was made of', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 9e14 }),
        fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
        (createdAtMs, id) => {
          const parsed = ListQuery.parse({ cursor: toCursor({ createdAtMs, id }) });
          expect(parsed).toEqual({ limit: 50, cursor: { createdAtMs, id } });
        },
      ),
    );
  });

  it('is nothing else than what was made', () => {
    const accepted = (cursor: string): string | undefined => {
      const result = ListQuery.safeParse({ cursor });
      return result.success ? result.data.cursor?.id : 'refused';
    };
    fc.assert(fc.property(fc.string(), (cursor) => /^[A-Za-z0-9_-]{1,64}$/.test(accepted(cursor) ?? '')));
    expect(accepted('')).toBe('refused');
  });
});

describe('a request', () => {
  it('of whatever JSON is either refused or has only settings that the registry can store', () => {
    const field = fc.oneof(
      fc.jsonValue(),
      fc.integer({ min: 0, max: 7_000 }),
      fc.string({ unit: 'binary', maxLength: 130 }),
    );
    const request = fc.dictionary(
      fc.constantFrom(
        'id',
        'name',
        'streamKey',
        'ladder',
        'segmentDurationMs',
        'partDurationMs',
        'reconnectWindow',
      ),
      field,
    );
    fc.assert(
      fc.property(request, (body) => {
        for (const schema of [CreateStream, UpdateStream]) {
          const result = schema.safeParse(body);
          if (!result.success) continue;
          const settings = settingsOf(result.data);
          expect(settings.name ?? 'x').toMatch(/^[^\0-\x1f]{1,120}$/u);
          expect(settings.reconnectWindowS ?? 0).toBeLessThanOrEqual(1_800);
          expect(settings.segmentDurationMs ?? 2_000).toBeGreaterThanOrEqual(1_000);
          expect(result.data.streamKey ?? 'rotate').toMatch(/^(rotate|[\w.~-]{16,128})$/);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('leaves out what it does not say', () => {
    expect(settingsOf(CreateStream.parse({ reconnectWindow: 0 }))).toEqual({ reconnectWindowS: 0 });
    expect(settingsOf(CreateStream.parse({}))).toEqual({});
  });
});

describe('refuseImpossibleGrid', () => {
  it.each([
    [2_000, 333],
    [2_000, 200],
    [6_000, 1_000],
    [1_000, 333],
    [4_000, 500],
  ])('takes segments of %i ms in parts of %i ms', (segmentDurationMs, partDurationMs) => {
    expect(() => refuseImpossibleGrid({ segmentDurationMs, partDurationMs })).not.toThrow();
  });

  it('refuses what would fail for a broadcaster at 24 fps', () => {
    expect(() => refuseImpossibleGrid({ segmentDurationMs: 1_100, partDurationMs: 200 })).toThrow(
      ProblemError,
    );
  });
});

describe('the id of a stream', () => {
  it('is not one whose URL means something else', () => {
    expect(CreateStream.safeParse({ id: 'snapshots' }).success).toBe(true);
    const { error } = CreateStream.safeParse({ id: 'snapshot' });
    expect(error?.issues).toMatchObject([{ path: ['id'], message: 'is reserved; choose another' }]);
  });
});
