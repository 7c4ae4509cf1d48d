import type { TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import { UPLOAD_HEADERS } from '#protocol/ingest/part-upload.ts';
import type { MediaAnswer, PlaylistAnswer } from '#origin/live/live-playback.ts';
import type { TimelineInput } from '#origin/live/live-streams.ts';
import { OriginPort, type PutAnswer, type Sabotage } from '#tests/sim/sim-origin.ts';

/** Takes whatever comes from whomever, as an origin without fencing would. */
class WithoutFence extends OriginPort {
  override put(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array<ArrayBuffer>,
  ): PutAnswer {
    const answer = super.put(path, headers, body);
    return answer.code === 'fencing_token_stale' ? { status: 201, code: 'stored' } : answer;
  }
}

/** Counts from the wall clock alone: nothing of what was listed before a restart is known. */
class WithoutRecord extends OriginPort {
  override beginTimeline(input: TimelineInput): TimelineGrant {
    return super.beginTimeline({ ...input, lastMsnFloor: 0, anchorUtcMs: input.anchorUtcMs - 20_000 });
  }
}

/** Forgets segments in the moment in which they leave the playlist. */
class WithoutRetention extends OriginPort {
  override async media(renditionId: string, name: string): Promise<MediaAnswer> {
    const snapshot = this.stream?.snapshot(renditionId);
    const text = new TextDecoder().decode(snapshot?.rendered('full').identity);
    if (!text.includes(name)) throw new ProblemError(404, 'not_listed', name);
    return await super.media(renditionId, name);
  }
}

/** Now and then answers with other bytes than before. */
class WithTwoBodies extends OriginPort {
  #served = 0;
  override async media(renditionId: string, name: string): Promise<MediaAnswer> {
    const answer = await super.media(renditionId, name);
    this.#served += 1;
    return this.#served % 500 === 0 ? { ...answer, media: { ...answer.media, digest: 'other' } } : answer;
  }
}

/** Answers some reloads with an older playlist, as a cache that is not told apart would. */
class WithOldPlaylists extends OriginPort {
  #kept: PlaylistAnswer | undefined;
  #served = 0;
  override async playlist(...request: Parameters<OriginPort['playlist']>): Promise<PlaylistAnswer> {
    const answer = await super.playlist(...request);
    this.#served += 1;
    if (this.#served % 100 === 1) this.#kept = answer;
    return this.#served % 100 === 99 && this.#kept !== undefined ? this.#kept : answer;
  }
}

/** Takes parts and never shows them once something was refused. */
class Stuck extends OriginPort {
  #isStuck = false;
  override put(
    path: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array<ArrayBuffer>,
  ): PutAnswer {
    if (this.#isStuck) return { status: 201, code: 'stored' };
    const answer = super.put(path, headers, body);
    this.#isStuck = headers[UPLOAD_HEADERS.startTicks] !== '0' && answer.code === 'repeated';
    return answer;
  }
}

/** Forgets one of the requests that it holds. */
class WithoutRelease extends OriginPort {
  #asked = 0;
  override async playlist(...request: Parameters<OriginPort['playlist']>): Promise<PlaylistAnswer> {
    this.#asked += 1;
    return this.#asked === 200
      ? await new Promise<PlaylistAnswer>(() => undefined)
      : await super.playlist(...request);
  }
}

/** Origins that break one promise each, and the promise. */
export const SABOTAGES: readonly (readonly [invariant: string, what: string, sabotage: Sabotage])[] = [
  ['a lower token never wins', 'has no fence', ({ streams }) => new WithoutFence(streams)],
  ['playlists keep their promises', 'has no record', ({ streams }) => new WithoutRecord(streams)],
  ['what is listed can be fetched', 'retains nothing', ({ streams }) => new WithoutRetention(streams)],
  ['no URL ever has two bodies', 'changes bytes', ({ streams }) => new WithTwoBodies(streams)],
  ['sequence numbers never go back', 'serves old playlists', ({ streams }) => new WithOldPlaylists(streams)],
  ['parts come again', 'shows nothing more', ({ streams }) => new Stuck(streams)],
  ['viewers go on', 'leaves requests hanging', ({ streams }) => new WithoutRelease(streams)],
];
