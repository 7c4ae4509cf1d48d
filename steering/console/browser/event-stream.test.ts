import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVENT_CHARS_MAX, EventStreamParser, type StreamEvent } from './event-stream.ts';

const parse = (pieces: readonly string[]): StreamEvent[] => {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

describe('§9.2.6 Interpreting an event stream', () => {
  it.each<[string, string, StreamEvent[]]>([
    ['an event', 'event: health\ndata: {"a":1}\nid: 7\n\n', [{ event: 'health', data: '{"a":1}', id: '7' }]],
    ['the default name', 'data: x\n\n', [{ event: 'message', data: 'x', id: '' }]],
    ['several lines of data', 'data: a\ndata\ndata:b\n\n', [{ event: 'message', data: 'a\n\nb', id: '' }]],
    ['comments and unknown fields', ': ping\n\nretry: 5\nfoo: bar\n\n', []],
    ['an event without data', 'event: x\n\n', []],
    ['an event that is not over', 'data: x\n', []],
    [
      'all line ends',
      'data: a\r\n\r\ndata: b\r\rdata: c\n\n',
      ['a', 'b', 'c'].map((data) => ({ event: 'message', data, id: '' })),
    ],
    ['a byte order mark', '\uFEFFdata: x\n\n', [{ event: 'message', data: 'x', id: '' }]],
  ])('reads %s', (_, text, events) => {
    expect(parse([`${text}:end\n`])).toEqual(events);
  });

  it('gives the same for any split of the text', () => {
    const text = 'event: a\r\ndata: 1\r\n\r\n:x\ndata: 2\rdata: 3\r\rid: 4\ndata: \n\n';
    fc.assert(
      fc.property(fc.array(fc.nat({ max: text.length }), { maxLength: 10 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), text.length];
        const pieces = at.slice(1).map((end, index) => text.slice(at[index], end));
        expect(parse(pieces)).toEqual(parse([text]));
      }),
    );
    expect(parse([text]).length).toBe(3);
  });

  it('does not keep an event without end', () => {
    const parser = new EventStreamParser();
    expect(() => {
      for (let piece = 0; piece < 10; piece++) parser.push(`data: ${'x'.repeat(EVENT_CHARS_MAX / 8)}\n`);
    }).toThrow(RangeError);
  });
});
