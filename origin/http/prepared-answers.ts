import type { MediaAnswer, PlaylistAnswer } from '#origin/live/live-playback.ts';
import type { MediaObject } from '#origin/live/live-segment.ts';
import type { RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';
import { acceptsGzip } from '#origin/http/byte-range.ts';
import {
  answerMedia,
  answerPlaylist,
  type Answer,
  type AnswerConditions,
} from '#origin/http/playback-answers.ts';

/**
 * The whole answers, headers included, of what is served now: made for the first who asks and shared by all others. They
 * go when their playlist version or their media go.
 */
export class PreparedAnswers {
  readonly #playlists = new WeakMap<RenderedPlaylist, Map<string, Answer>>();
  readonly #media = new WeakMap<MediaObject, Answer>();

  playlist(answer: PlaylistAnswer, conditions: AnswerConditions): Answer {
    if (conditions.ifNoneMatch !== undefined) return answerPlaylist(answer, conditions);
    let answers = this.#playlists.get(answer.rendered);
    if (answers === undefined) {
      answers = new Map();
      this.#playlists.set(answer.rendered, answers);
    }
    const isCompressed = acceptsGzip(conditions.acceptEncoding);
    const key = isCompressed ? `${answer.freshness} gzip` : answer.freshness;
    let prepared = answers.get(key);
    if (prepared === undefined) {
      prepared = answerPlaylist(answer, { acceptEncoding: isCompressed ? 'gzip' : undefined });
      answers.set(key, prepared);
    }
    return prepared;
  }

  media(answer: MediaAnswer, conditions: AnswerConditions): Answer {
    if (conditions.ifNoneMatch !== undefined || conditions.range !== undefined)
      return answerMedia(answer, conditions);
    let prepared = this.#media.get(answer.media);
    if (prepared === undefined) {
      prepared = answerMedia(answer, {});
      this.#media.set(answer.media, prepared);
    }
    return prepared;
  }
}
