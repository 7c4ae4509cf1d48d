import { describe, expect, it } from 'vitest';
import { formatHoldersNote, parseHoldersNote } from '#protocol/ingest/part-upload.ts';

describe('the note of who holds a stream', () => {
  it('comes out as it went in', () => {
    const note = { version: 3, origins: ['http://a:8080', 'https://b.example.com'] };
    expect(parseHoldersNote(formatHoldersNote(note))).toEqual(note);
  });

  it.each([
    undefined,
    '',
    '3',
    'x http://a',
    '3 ftp://a',
    '3 http://a/path',
    '3 http://user@a',
    '-1 http://a',
    `3${' http://a'.repeat(9)}`,
    `3 http://${'a'.repeat(300)}`,
  ])('takes no notice of %j', (header) => {
    expect(parseHoldersNote(header)).toBeUndefined();
  });
});
