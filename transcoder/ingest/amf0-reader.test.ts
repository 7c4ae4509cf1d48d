import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AmfError, readAmf0, type AmfErrorCode, type AmfValue } from './amf0-reader.ts';
import { DEFAULT_INGEST_LIMITS } from './ingest-settings.ts';

const limits = DEFAULT_INGEST_LIMITS;
const read = (hex: string): AmfValue[] => readAmf0(Buffer.from(hex.replaceAll(' ', ''), 'hex'), limits);
const text = (value: string): string =>
  Buffer.concat([Buffer.from([value.length >> 8, value.length & 0xff]), Buffer.from(value)]).toString('hex');

const nested = (depth: number, open: string, close: string): string =>
  open.repeat(depth) + '05' + close.repeat(depth);

describe('AMF0 §2 values that an encoder may send', () => {
  const valid: [name: string, hex: string, expected: AmfValue[]][] = [
    ['nothing', '', []],
    ['number', '00 3ff8000000000000', [1.5]],
    ['booleans', '0101 0100', [true, false]],
    ['string', `02 ${text('live')}`, ['live']],
    ['empty string', '02 0000', ['']],
    ['long string', `0c 00000002 6f6b`, ['ok']],
    ['XML document', `0f 00000003 3c2f3e`, ['</>']],
    ['null, undefined, unsupported', '05 06 0d', [null, undefined, undefined]],
    ['reference', '07 0001', [undefined]],
    ['date', '0b 4059000000000000 0000', [100]],
    ['object', `03 ${text('a')} 05 0000 09`, [new Map([['a', null]])]],
    ['empty object', '03 0000 09', [new Map()]],
    ['typed object', `10 ${text('T')} ${text('a')} 0101 0000 09`, [new Map([['a', true]])]],
    ['ECMA array with a wrong count', `08 ffffffff ${text('a')} 0101 0000 09`, [new Map([['a', true]])]],
    ['ECMA array without its end', `08 00000001 ${text('a')} 0101`, [new Map([['a', true]])]],
    ['strict array', '0a 00000002 05 0101', [[null, true]]],
    [
      'a name that means something to JavaScript',
      `03 ${text('__proto__')} 0101 0000 09`,
      [new Map([['__proto__', true]])],
    ],
    [
      'as deep as allowed',
      nested(limits.amfDepthMax, '0a00000001', ''),
      [Array.from({ length: limits.amfDepthMax }).reduce<AmfValue>((inner) => [inner], null)],
    ],
    ['as many values as allowed', '05'.repeat(limits.amfKeysMax), Array<null>(limits.amfKeysMax).fill(null)],
  ];
  it.each(valid)('reads %s', (_name, hex, expected) => {
    expect(read(hex)).toEqual(expected);
  });
});

describe('AMF0 that costs its sender the connection', () => {
  const invalid: [name: string, hex: string, code: AmfErrorCode][] = [
    ['number cut short', '00 3ff80000', 'amf_truncated'],
    ['number without bytes', '00', 'amf_truncated'],
    ['boolean without a byte', '01', 'amf_truncated'],
    ['string cut short', '02 0005 6162', 'amf_truncated'],
    ['string without length', '02 00', 'amf_truncated'],
    ['date cut short', '0b 0000', 'amf_truncated'],
    ['object without end', `03 ${text('a')} 05`, 'amf_truncated'],
    ['object name cut short', '03 0004 61', 'amf_truncated'],
    ['inner ECMA array without end', `03 ${text('a')} 08 00000000`, 'amf_truncated'],
    ['movie clip', '04', 'amf_type_unknown'],
    ['end marker on its own', '09', 'amf_type_unknown'],
    ['record set', '0e', 'amf_type_unknown'],
    ['AMF3 value', '11 01', 'amf_type_unknown'],
    ['unknown type', 'ff', 'amf_type_unknown'],
    ['object too deep', nested(limits.amfDepthMax + 1, `03${text('a')}`, '000009'), 'amf_too_deep'],
    ['array too deep', nested(limits.amfDepthMax + 1, '0a00000001', ''), 'amf_too_deep'],
    ['object 200,000 deep', `03${text('a')}`.repeat(200_000), 'amf_too_deep'],
    ['array of four thousand million', '0a ffffffff', 'amf_too_many_values'],
    ['one value too many', '05'.repeat(limits.amfKeysMax + 1), 'amf_too_many_values'],
    ['one key too many', `03${`${text('a')}05`.repeat(limits.amfKeysMax + 1)}000009`, 'amf_too_many_values'],
    ['string too long', `02 1001 ${'61'.repeat(0x1001)}`, 'amf_string_too_long'],
    ['string that claims 4 GiB', '0c ffffffff 61', 'amf_string_too_long'],
  ];
  it.each(invalid)('refuses %s', (_name, hex, code) => {
    expect(() => read(hex)).toThrow(expect.objectContaining({ name: 'AmfError', code }));
  });
});

describe('AMF0 of a fuzzer', () => {
  it('either reads or refuses every mutation of a real message', () => {
    const real = Buffer.from(
      `02${text('connect')}003ff000000000000003${text('app')}02${text('live')}${text('tcUrl')}02` +
        `${text('rtmp://host/live')}${text('list')}0a0000000200000000000000000001010000090800000001` +
        `${text('width')}004094000000000000000009`,
      'hex',
    );
    const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() & 0x7fffffff);
    let read = 0;
    let refused = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(real.length),
        (changes, length) => {
          const bytes = Buffer.from(real.subarray(0, length));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          try {
            readAmf0(bytes, limits);
            read++;
          } catch (error) {
            if (!(error instanceof AmfError)) throw error;
            refused++;
          }
        },
      ),
      { seed, numRuns: 20_000 },
    );
    expect(read, `seed ${seed}`).toBeGreaterThan(0);
    expect(refused, `seed ${seed}`).toBeGreaterThan(0);
  });
});
