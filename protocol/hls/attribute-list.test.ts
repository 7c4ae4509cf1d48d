import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PlaylistValueError, quoted, tag, uriLine } from '#protocol/hls/attribute-list.ts';

describe('§4.2 Attribute Lists', () => {
  it('leaves out attributes without a value', () => {
    expect(tag('EXT-X-PART', { DURATION: '0.3', GAP: undefined, URI: quoted('1.0.m4s') })).toBe(
      '#EXT-X-PART:DURATION=0.3,URI="1.0.m4s"',
    );
  });

  it.each([
    ['a double quote', 'a"b'],
    ['a line feed', 'a\nb'],
    ['a carriage return', 'a\rb'],
    ['NUL', 'a\u0000b'],
    ['a tab', 'a\tb'],
    ['a C1 control', 'a\u0085b'],
    ['nothing', ''],
  ])('refuses %s in a quoted string', (_, text) => {
    expect(() => quoted(text)).toThrow(PlaylistValueError);
  });

  it('quotes any text without a double quote or a control character, and no other', () => {
    const isSafe = (text: string): boolean => text !== '' && !/["\u0000-\u001f\u007f-\u009f]/.test(text);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }).filter(isSafe), (text) => {
        expect(quoted(text)).toBe(`"${text}"`);
      }),
      { verbose: 1 },
    );
    const unsafe = fc.tuple(fc.string(), fc.constantFrom('"', '\n', '\r', '\u007f'), fc.string());
    fc.assert(
      fc.property(unsafe, (pieces) => {
        expect(() => quoted(pieces.join(''))).toThrow(PlaylistValueError);
      }),
      { verbose: 1 },
    );
  });

  it.each(['', '#EXTINF:1,', 'a b', 'a\n#EXT-X-ENDLIST', 'a\u0000'])('refuses %j as a URI line', (uri) => {
    expect(() => uriLine(uri)).toThrow(PlaylistValueError);
  });
});
