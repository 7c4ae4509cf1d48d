import { strict as assert } from 'node:assert';
import { parseStrictly } from '#origin/live/testing/strict-parser.ts';

/** One listed thing and what was said of it. */
type Facts = Map<string, string>;

/** What a player remembers of one rendition, and everything it would take for a broken server. */
export class PlaylistHistory {
  #facts: Facts = new Map();
  #mediaSequence = 0;
  #discontinuitySequence = 0;
  #lastMsn = 0;
  #ended = false;
  /** Over all playlists that the URL has had: no URL of media comes back with another meaning. */
  readonly #urls: Facts = new Map();

  /** Takes the next version of the playlist. @throws when it breaks a promise of an earlier one */
  take(text: string): void {
    const playlist = parseStrictly(text);
    const base = playlist.mediaSequenceBase ?? 0;
    // Another playlist has taken the URL when its numbers begin beyond all that could be asked of the one before.
    if (base > this.#lastMsn + 3) this.#forget();
    assert.ok(!this.#ended || playlist.endlist, 'a playlist goes on after EXT-X-ENDLIST');
    const discontinuityBase = playlist.discontinuitySequenceBase ?? 0;
    assert.ok(base >= this.#mediaSequence, `MEDIA-SEQUENCE fell to ${base}`);
    assert.ok(
      discontinuityBase >= this.#discontinuitySequence,
      `DISCONTINUITY-SEQUENCE fell to ${discontinuityBase}`,
    );
    this.#mediaSequence = base;
    this.#discontinuitySequence = discontinuityBase;
    this.#ended = playlist.endlist;
    for (const line of text.split('\n'))
      if (/^#EXT-X-(VERSION|TARGETDURATION|SERVER-CONTROL|PART-INF):/.test(line))
        this.#say(line.split(':')[0] ?? '', line);
    this.#takeSegments(playlist.segments, discontinuityBase);
  }

  #takeSegments(segments: ReturnType<typeof parseStrictly>['segments'], discontinuityBase: number): void {
    let discontinuities = discontinuityBase;
    let endMs: number | undefined;
    for (const segment of segments) {
      const name = `segment ${segment.mediaSequenceNumber}`;
      const parts = segment.parts.filter(({ hint }) => !hint);
      if (segment.uri === '' && parts.length === 0) continue;
      discontinuities += segment.discontinuity === true ? 1 : 0;
      const startMs = segment.programDateTime?.getTime() ?? Number.NaN;
      this.#lastMsn = segment.mediaSequenceNumber;
      this.#say(`discontinuity number of ${name}`, String(discontinuities));
      this.#say(`time of ${name}`, String(startMs));
      // The parser does not carry EXT-X-MAP over to the segment that is still open.
      if (segment.map !== undefined && segment.map !== null) this.#say(`map of ${name}`, segment.map.uri);
      for (const part of parts)
        this.#say(`part ${part.uri}`, `${part.duration} ${part.gap} ${part.independent}`);
      if (endMs !== undefined) {
        const stepMs = startMs - endMs;
        assert.ok(stepMs > -1_000, `the time of ${name} steps back by ${-stepMs} ms`);
        if (segment.discontinuity !== true)
          assert.ok(Math.abs(stepMs) < 42, `the time of ${name} is ${stepMs} ms off`);
      }
      endMs = undefined;
      if (segment.uri === '') continue;
      this.#say(
        `end of ${name}`,
        `${segment.uri} ${segment.duration} ${segment.gap} ${parts.length || ''}`,
        parts.length > 0,
      );
      endMs = startMs + segment.duration * 1000;
      const sum = parts.reduce((total, { duration = 0 }) => total + duration, 0);
      if (parts.length > 0)
        assert.ok(Math.abs(sum - segment.duration) < 0.001, `the parts of ${name} are not as long as it is`);
    }
  }

  /** What was said once holds for ever; `isWhole` is false when less than before can be seen. */
  #say(what: string, value: string, isWhole = true): void {
    const said = this.#facts.get(what);
    if (said === undefined) {
      if (isWhole) this.#facts.set(what, value);
    } else if (isWhole) assert.equal(value, said, what);
    else assert.ok(said.startsWith(value.trim()), `${what}: ${value} after ${said}`);
    if (!/^(part|end of)/.test(what) || !isWhole) return;
    assert.equal(this.#urls.get(what) ?? value, value, `${what}, over all playlists`);
    this.#urls.set(what, value);
  }

  #forget(): void {
    this.#facts = new Map();
    this.#discontinuitySequence = 0;
    this.#ended = false;
  }
}
