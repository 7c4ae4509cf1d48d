import type { ViewerPlace } from '#edge-worker/edge-deps.ts';
import { flavourFolder } from '#edge-worker/http/playback-path.ts';
import { isKnownToSteer, steeringWish } from '#edge-worker/playlists/steering-support.ts';
import type { MultivariantLadder } from '#protocol/hls/multivariant-ladder.ts';
import {
  writeRedundantMultivariant,
  writeSingleMultivariant,
  writeSteeredMultivariant,
  type LadderPathway,
} from '#protocol/hls/steered-multivariant.ts';
import { pathwayPriority, type SteeringPicture } from '#protocol/steering/pathway-priority.ts';
import {
  importTokenMac,
  newSessionId,
  SESSION_ID_LENGTH,
  SESSION_TOKEN_LIFETIME_S,
  signSessionTokenAsync,
  verifySessionTokenAsync,
  type AsyncTokenMac,
  type SessionClaims,
} from '#protocol/steering/session-token.ts';
import { bytesToBase64Url } from '#protocol/steering/base64url-number.ts';
import { SESSION_PARAMETER } from '#protocol/steering/steering-query.ts';

export type SessionPlaylistSettings = {
  readonly tokenKeys: readonly { readonly id: number; readonly secret: Uint8Array }[];
  readonly steeringTtlS: number;
};

/** A request for a multivariant playlist, as far as the answer depends on it. */
export type SessionRequest = {
  readonly streamId: string;
  /** `/t/{token}` or ''. */
  readonly prefix: string;
  readonly query: URLSearchParams;
  readonly userAgent: string | null;
  readonly place: ViewerPlace;
  /** The session that the viewer's playback token is for: it keeps its CDN whenever it comes back. Or ''. */
  readonly session: string;
  /** `scheme://host[:port][/path]` under which this viewer reaches steering. */
  readonly steeringBase: string;
  readonly nowS: number;
};

export type SessionPlaylist = { readonly text: string; readonly kind: 'steered' | 'single' | 'plain' };

/** A session that asks again after so many TTLs without having asked steering does not steer. */
const SILENT_TTLS = 2;

/** Writes each session's multivariant playlist. Remembers nothing: what must be known of a session is in its token. */
export class SessionPlaylists {
  readonly #settings: SessionPlaylistSettings;
  #keys: Promise<readonly AsyncTokenMac[]> | undefined;

  constructor(settings: SessionPlaylistSettings) {
    this.#settings = settings;
  }

  /**
   * The playlist of a session: all pathways with steering, one CDN by way of its flavour, or, when no CDN is known, the
   * edge's own files.
   *
   * @throws {PlaylistValueError} when a CDN's URL would break the text
   */
  async write(
    ladder: MultivariantLadder,
    picture: SteeringPicture,
    request: SessionRequest,
  ): Promise<SessionPlaylist> {
    const { snapshot } = picture;
    if (snapshot.cdns.length === 0) return { text: writeSingleMultivariant(ladder, ''), kind: 'plain' };
    const known = await this.#claims(request);
    const sessionId = (await namedSession(request.session)) ?? known?.sessionId ?? newSessionId();
    const { streamId, place, prefix } = request;
    const order = pathwayPriority(picture, {
      sessionId,
      streamId,
      generation: snapshot.generation,
      country: place.country,
      asn: place.asn,
    });
    const first = order[0] ?? '';
    if (!steers(request, known, this.#settings.steeringTtlS)) {
      // Players in browsers leave a CDN for the next variant like the one they play, long before a reload could move them.
      const text = isKnownToSteer(request.userAgent)
        ? writeRedundantMultivariant(
            ladder,
            order.map((id) => ({ id, folder: flavourFolder(id) })),
          )
        : writeSingleMultivariant(ladder, flavourFolder(first));
      return { text, kind: 'single' };
    }

    const bases = new Map(snapshot.cdns.map(({ name, baseUrl }) => [name, baseUrl]));
    // In the session's order, for players that take what is listed first; then those that are out of use now.
    const names = [...order, ...[...bases.keys()].filter((name) => !order.includes(name))];
    const pathways = names.map((id): LadderPathway => ({
      id,
      folder: `${bases.get(id) ?? ''}${prefix}/live/${streamId}/`,
    }));
    const token = await this.#token(sessionId, snapshot.generation, request);
    const query = token === undefined ? '' : `?${SESSION_PARAMETER}=${token}`;
    const serverUri = `${request.steeringBase}/steering/v1/${streamId}${query}`;
    const text = writeSteeredMultivariant(ladder, pathways, { serverUri, pathwayId: first });
    return { text, kind: 'steered' };
  }

  /** What the session said of itself, when it is one of ours. */
  async #claims({ query, streamId, nowS }: SessionRequest): Promise<SessionClaims | undefined> {
    const token = query.get(SESSION_PARAMETER);
    if (token === null) return undefined;
    const verdict = await verifySessionTokenAsync(token, streamId, nowS, await this.#imported());
    return verdict.valid ? verdict.claims : undefined;
  }

  async #token(
    sessionId: string,
    generation: number,
    { streamId, nowS }: SessionRequest,
  ): Promise<string | undefined> {
    const [key] = await this.#imported();
    if (key === undefined) return undefined;
    const claims: SessionClaims = {
      sessionId,
      issuedAtS: nowS,
      expiresAtS: nowS + SESSION_TOKEN_LIFETIME_S,
      generation,
      ttlS: 0,
      rhythm: 'none',
      assignedTag: 0,
    };
    return signSessionTokenAsync(claims, streamId, key);
  }

  #imported(): Promise<readonly AsyncTokenMac[]> {
    return (this.#keys ??= Promise.all(this.#settings.tokenKeys.map(importTokenMac)));
  }
}

/** The id under which a session that somebody else has named is known to steering; it does not tell the name. */
async function namedSession(name: string): Promise<string | undefined> {
  if (name === '') return undefined;
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`session ${name}`));
  return bytesToBase64Url(new Uint8Array(digest)).slice(0, SESSION_ID_LENGTH);
}

/**
 * Whether a player gets pathways. A token tells when steering answered last, or that it never did, and how soon it should
 * have been asked again: a session that comes back later than twice that has not asked.
 */
function steers(request: SessionRequest, known: SessionClaims | undefined, ttlS: number): boolean {
  const wish = steeringWish(request.query);
  if (wish !== undefined) return wish === 'yes';
  if (known !== undefined) {
    const due = known.ttlS === 0 ? ttlS : known.ttlS;
    return request.nowS - known.issuedAtS <= SILENT_TTLS * due;
  }
  return isKnownToSteer(request.userAgent);
}
