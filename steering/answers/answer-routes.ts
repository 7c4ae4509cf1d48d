import { Hono, type Context } from 'hono';
import { STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { STEERING_MEDIA_TYPE } from '#protocol/steering/steering-manifest.ts';
import { allowOnly } from '#runtime/http/methods.ts';
import type { SteeringAnswers } from '#steering/answers/steering-answers.ts';
import {
  peerAddress,
  publicBase,
  viewerAddress,
  viewerOrigin,
  type TrustedHeaders,
} from '#steering/answers/viewer-origin.ts';

/** In place of a stream id that cannot be: a player gets a list for it all the same. */
const UNNAMED_STREAM = '_';

export const ANSWER_HEADERS = {
  'content-type': STEERING_MEDIA_TYPE,
  'cache-control': 'no-store',
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'Retry-After',
} as const;

const PREFLIGHT_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, HEAD, OPTIONS',
  'access-control-allow-headers': '*',
  'access-control-max-age': '86400',
  'cache-control': 'no-store',
} as const;

export type AnswerRoutesOptions = {
  readonly publicUrl: string | null;
  readonly trusted: TrustedHeaders;
  /** `http://host:port` of the server itself, known once it listens. */
  readonly ownUrl: () => string;
};

/**
 * `GET /steering/v1/{streamId}` for HLS and DASH: 200 with a manifest, whatever a player may send. Any other status ends
 * or loops steering in some player: 410 for good in hls.js, 429 in hls.js, 5xx on the first request in video.js and dash.js.
 */
export function answerRoutes(answers: SteeringAnswers, options: AnswerRoutesOptions): Hono {
  const app = new Hono();
  const answer = (context: Context, streamId: string): Response => {
    const header = (name: string): string | undefined => context.req.header(name);
    const { url } = context.req;
    const question = url.indexOf('?');
    const body = answers.answer({
      streamId: STREAM_ID_PATTERN.test(streamId) ? streamId : UNNAMED_STREAM,
      query: question < 0 ? '' : url.slice(question + 1),
      base: publicBase(header, { ...options, ownUrl: options.ownUrl() }),
      origin: viewerOrigin(header, options.trusted),
      address: viewerAddress(header, options.trusted, peerAddress(context)),
    });
    return context.body(body, 200, ANSWER_HEADERS);
  };
  // HEAD is answered by the GET routes.
  app.get('/steering/v1/:streamId', (context) => answer(context, context.req.param('streamId')));
  // A playlist with a wrong URL in it shall not make players ask without pause.
  app.get('/steering/v1/*', (context) => answer(context, UNNAMED_STREAM));
  app.options('/steering/v1/*', (context) => context.body(null, 200, PREFLIGHT_HEADERS));
  allowOnly(app, '/steering/v1/*', ['GET']);
  return app;
}
