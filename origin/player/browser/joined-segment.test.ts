import { describe, expect, it } from 'vitest';
import { markJoined, type JoinedPart } from './joined-segment.ts';

/** A part as hls.js has it: loaded when it knows a track of it. */
class ListedPart implements JoinedPart {
  readonly index: number;
  readonly fragment: { readonly sn: number };
  readonly start: number;
  readonly end: number;
  elementaryStreams: JoinedPart['elementaryStreams'] = { audio: null, video: null, audiovideo: null };

  constructor(sn: number, index: number, isLoaded = false) {
    this.fragment = { sn };
    this.index = index;
    this.start = sn * 2 + index / 3;
    this.end = this.start + 1 / 3;
    if (isLoaded) this.elementaryStreams = { ...this.elementaryStreams, audio: TRACK };
  }

  get loaded(): boolean {
    return this.elementaryStreams.audio !== null;
  }
}

const TRACK = { startPTS: 0, endPTS: 1, startDTS: 0, endDTS: 1 };
const buffered = (start: number, end: number) => ({ length: 1, start: () => start, end: () => end });
const loadedOf = (parts: readonly ListedPart[]): string[] =>
  parts.filter(({ loaded }) => loaded).map(({ fragment, index }) => `${fragment.sn}.${index}`);

describe('a segment that was joined at its fourth part', () => {
  const listed = (): { parts: ListedPart[]; appended: ListedPart } => {
    const appended = new ListedPart(10, 3, true);
    const before = [new ListedPart(9, 5), ...[0, 1, 2].map((index) => new ListedPart(10, index))];
    return { parts: [...before, appended, new ListedPart(10, 4)], appended };
  };

  it('counts its first three for loaded when their media are there', () => {
    const { parts, appended } = listed();
    markJoined(parts, appended, buffered(15, 21));
    expect(loadedOf(parts)).toEqual(['10.0', '10.1', '10.2', '10.3']);
  });

  it('leaves to be loaded what is not in the buffer', () => {
    const { parts, appended } = listed();
    markJoined(parts, appended, buffered(20.6, 21));
    expect(loadedOf(parts)).toEqual(['10.2', '10.3']);
    markJoined(parts, appended, undefined);
    expect(loadedOf(parts)).toEqual(['10.2', '10.3']);
  });

  it('does not share what hls.js notes of each part', () => {
    const { parts, appended } = listed();
    markJoined(parts, appended, buffered(15, 21));
    expect(parts[1]?.elementaryStreams).not.toBe(appended.elementaryStreams);
  });
});
