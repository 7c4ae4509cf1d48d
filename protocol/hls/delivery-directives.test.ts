import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DeliveryDirectiveError,
  QUERY_CHARS_MAX,
  parseDeliveryDirectives,
} from '#protocol/hls/delivery-directives.ts';

/** What a call returns or throws. */
function attempt(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

describe('§6.2.5 Delivery Directives Interface', () => {
  it.each([
    ['', undefined, 'full'],
    ['token=abc&session=1', undefined, 'full'],
    ['_HLS_msn=12', { msn: 12, part: undefined }, 'full'],
    ['_HLS_msn=12&_HLS_part=0', { msn: 12, part: 0 }, 'full'],
    ['_HLS_part=3&_HLS_msn=12', { msn: 12, part: 3 }, 'full'],
    ['_HLS_msn=12&_HLS_part=3&_HLS_skip=YES', { msn: 12, part: 3 }, 'delta'],
    ['_HLS_skip=v2', undefined, 'delta-v2'],
    ['_HLS_skip=yes', undefined, 'full'],
    ['_HLS_skip=', undefined, 'full'],
    ['_HLS_msn=007', { msn: 7, part: undefined }, 'full'],
    ['_HLS_msn=%31%32', { msn: 12, part: undefined }, 'full'],
    ['%5FHLS_msn=12', { msn: 12, part: undefined }, 'full'],
    ['_HLS_unknown=x&_HLS_pathway=b', undefined, 'full'],
    ['a&&=&_HLS_msn=5&=', { msn: 5, part: undefined }, 'full'],
    ['_HLS_msn=999999999999999', { msn: 999_999_999_999_999, part: undefined }, 'full'],
  ])('reads %j', (query, block, form) => {
    expect(parseDeliveryDirectives(query)).toEqual({ block, form });
  });

  it.each([
    ['_HLS_msn=', 'directive_invalid'],
    ['_HLS_msn=-1', 'directive_invalid'],
    ['_HLS_msn=+1', 'directive_invalid'],
    ['_HLS_msn=1.5', 'directive_invalid'],
    ['_HLS_msn=1e3', 'directive_invalid'],
    ['_HLS_msn=0x10', 'directive_invalid'],
    ['_HLS_msn=abc', 'directive_invalid'],
    ['_HLS_msn=1%00', 'directive_invalid'],
    ['_HLS_msn=%E2%81%B5', 'directive_invalid'],
    ['_HLS_msn=9999999999999999', 'directive_invalid'],
    ['_HLS_msn=18446744073709551616', 'directive_invalid'],
    ['_HLS_msn=1&_HLS_msn=1', 'directive_invalid'],
    ['_HLS_msn=1&_HLS_part=1&_HLS_part=2', 'directive_invalid'],
    ['_HLS_skip=YES&_HLS_skip=YES', 'directive_invalid'],
    ['_HLS_msn=1&_HLS_part=NaN', 'directive_invalid'],
    ['_HLS_part=1', 'directive_part_without_msn'],
    [`a=${'x'.repeat(QUERY_CHARS_MAX)}`, 'query_too_long'],
  ])('refuses %j', (query, code) => {
    expect(() => parseDeliveryDirectives(query)).toThrow(expect.objectContaining({ code }));
  });

  it('answers any text with directives or its own error', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('_HLS_msn', '_HLS_part', '_HLS_skip', 'x'), fc.string()), {
          maxLength: 6,
        }),
        (pairs) => {
          const query = pairs.map(([name, value]) => `${name}=${value}`).join('&');
          const outcome = attempt(() => parseDeliveryDirectives(query).block?.msn ?? 0);
          expect(outcome).toSatisfy(
            (value) => Number.isSafeInteger(value) || value instanceof DeliveryDirectiveError,
          );
        },
      ),
      { verbose: 1 },
    );
  });
});
