/** Everything below this path is for the holder of the token that follows it. */
export const TOKEN_PATH = '/t/';

/** A path with the token that it begins with taken out. */
export type TokenPath = {
  /** `/t/{token}`, as the viewer wrote it, or ''. Relative URIs in a playlist below it keep it by themselves. */
  readonly prefix: string;
  readonly token: string | undefined;
  /** Begins with a slash. */
  readonly path: string;
};

/** Takes the token off a path: `/t/{token}/live/…` is `/live/…` for its holder. */
export function splitTokenPath(pathname: string): TokenPath {
  if (!pathname.startsWith(TOKEN_PATH)) return { prefix: '', token: undefined, path: pathname };
  const end = pathname.indexOf('/', TOKEN_PATH.length);
  if (end === -1) return { prefix: pathname, token: pathname.slice(TOKEN_PATH.length), path: '/' };
  return {
    prefix: pathname.slice(0, end),
    token: pathname.slice(TOKEN_PATH.length, end),
    path: pathname.slice(end),
  };
}

/** `pathname`, for the holder of `token`. */
export function withToken(token: string, pathname: string): string {
  return `${TOKEN_PATH}${token}${pathname}`;
}
