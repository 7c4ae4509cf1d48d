import type { Context } from 'hono';

/** Reads a request header by its lower-case name. */
export type HeaderReader = (name: string) => string | undefined;

/** Which headers may say something about a viewer or about us; only those that a proxy in front of us sets or removes. */
export type TrustedHeaders = {
  /** Header with the country, such as `cf-ipcountry`; `null` when nobody says. */
  readonly country: string | null;
  /** Header with the number of the autonomous system. */
  readonly asn: string | null;
  /** Whether `x-forwarded-proto` and the last entry of `x-forwarded-for` are to be believed. */
  readonly forwarded: boolean;
};

/** From where a viewer asks, as far as trusted headers say. */
export type ViewerOrigin = { readonly country: string | undefined; readonly asn: number | undefined };

/** Two letters; `XX` and `T1` are how CDNs write that they do not know, or that it is Tor. */
export function viewerOrigin(header: HeaderReader, trusted: TrustedHeaders): ViewerOrigin {
  const country = trusted.country === null ? undefined : header(trusted.country);
  const asn = trusted.asn === null ? undefined : header(trusted.asn);
  const known = country !== undefined && /^[A-Za-z]{2}$/.test(country) && country.toUpperCase() !== 'XX';
  const number = asn === undefined ? null : /^(?:AS)?(\d{1,10})$/i.exec(asn.trim());
  return {
    country: known ? country.toUpperCase() : undefined,
    asn: number === null ? undefined : Number(number[1]),
  };
}

const HOST_PATTERN =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/**
 * Base of the URL under which a player reaches us: the configured one, else what it asked for, else our own address. The
 * Host header is a stranger's text and goes into an answer, so nothing but a host name and a port is let through.
 *
 * @param ownUrl `http://host:port` of the server itself
 */
export function publicBase(
  header: HeaderReader,
  options: { readonly publicUrl: string | null; readonly trusted: TrustedHeaders; readonly ownUrl: string },
): string {
  if (options.publicUrl !== null) return options.publicUrl;
  const host = header('host');
  if (host === undefined || !HOST_PATTERN.test(host) || !URL.canParse(`http://${host}/`))
    return options.ownUrl;
  const forwarded = options.trusted.forwarded ? header('x-forwarded-proto') : undefined;
  const scheme =
    forwarded === 'https' || forwarded === 'http'
      ? forwarded
      : options.ownUrl.slice(0, options.ownUrl.indexOf(':'));
  return `${scheme}://${host}`;
}

/**
 * Address of the viewer: the last hop that a trusted proxy has seen, else the other end of the connection.
 *
 * @param peer address of the other end of the connection
 */
export function viewerAddress(
  header: HeaderReader,
  trusted: TrustedHeaders,
  peer: string | undefined,
): string | undefined {
  const forwardedFor = trusted.forwarded ? header('x-forwarded-for') : undefined;
  return forwardedFor?.slice(forwardedFor.lastIndexOf(',') + 1).trim() || peer;
}

/** The other end of a request's connection; `undefined` where there is none, as in tests without a socket. */
export function peerAddress(context: Context): string | undefined {
  const { incoming } = (context.env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } };
  return incoming?.socket?.remoteAddress;
}
