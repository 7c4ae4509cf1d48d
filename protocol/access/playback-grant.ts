/** What a playback token allows, whichever form it came in. */
export type PlaybackGrant = {
  /** Every one must hold. */
  readonly uris: readonly UriRule[];
  /** Seconds since the Unix epoch. */
  readonly expiresAtS: number;
  readonly notBeforeS: number;
  /** ISO 3166-1 alpha-2, upper case; empty means every country. */
  readonly countries: readonly string[];
  /** The application's name of the viewing session; '' when the token is not bound to one. */
  readonly sessionId: string;
};

/** A rule about one piece of the URL that is asked for. @spec CTA-5007-B, claim catu */
export type UriRule = {
  readonly piece: UriPiece;
  readonly match: 'exact' | 'prefix' | 'suffix' | 'contains';
  readonly value: string;
};
export type UriPiece =
  'scheme' | 'host' | 'port' | 'path' | 'parent-path' | 'filename' | 'stem' | 'extension';

/** What somebody asks for. */
export type PlaybackRequest = {
  /** As the viewer asked, but without the token's path prefix. */
  readonly url: URL;
  /** ISO 3166-1 alpha-2 of the viewer; undefined when nothing trustworthy says. */
  readonly country?: string | undefined;
  readonly nowS: number;
};

/** Why a viewer is turned away: a code and no more, so that nobody learns how to come closer. */
export type AccessRefusal =
  | 'token_missing'
  | 'token_malformed'
  | 'token_key_unknown'
  | 'token_signature_invalid'
  | 'token_claim_unsupported'
  | 'token_expired'
  | 'token_not_yet_valid'
  | 'token_stream_mismatch'
  | 'token_country_mismatch';

/** How far the clocks of those who mint and those who verify may differ. */
export const CLOCK_SKEW_S = 5;

/** The first reason not to serve a request, undefined when there is none. */
export function findRefusal(grant: PlaybackGrant, request: PlaybackRequest): AccessRefusal | undefined {
  if (grant.expiresAtS <= request.nowS) return 'token_expired';
  if (grant.notBeforeS > request.nowS + CLOCK_SKEW_S) return 'token_not_yet_valid';
  if (!grant.uris.every((rule) => holds(rule, request.url))) return 'token_stream_mismatch';
  if (grant.countries.length > 0 && !grant.countries.includes(request.country?.toUpperCase() ?? ''))
    return 'token_country_mismatch';
  return undefined;
}

function holds({ piece, match, value }: UriRule, url: URL): boolean {
  const actual = pieceOf(url, piece);
  switch (match) {
    case 'exact':
      return actual === value;
    case 'prefix':
      return actual.startsWith(value);
    case 'suffix':
      return actual.endsWith(value);
    case 'contains':
      return actual.includes(value);
  }
}

function pieceOf(url: URL, piece: UriPiece): string {
  const { pathname } = url;
  const filename = pathname.slice(pathname.lastIndexOf('/') + 1);
  const dot = filename.lastIndexOf('.');
  switch (piece) {
    case 'scheme':
      return url.protocol.slice(0, -1);
    case 'host':
      return url.hostname;
    case 'port':
      return url.port;
    case 'path':
      return pathname;
    case 'parent-path':
      return pathname.slice(0, pathname.lastIndexOf('/'));
    case 'filename':
      return filename;
    case 'stem':
      return dot === -1 ? filename : filename.slice(0, dot);
    case 'extension':
      return dot === -1 ? '' : filename.slice(dot);
  }
}
