import type { ViewerPlace } from '#edge-worker/edge-deps.ts';

/** What somebody wants to have, as an {@link Authoriser} judges it. */
export type AccessRequest = {
  /** What follows `/t/` in the path, unchecked. */
  readonly token: string | undefined;
  readonly streamId: string;
  /** The URL that was asked for, with the token's prefix taken out of the path. */
  readonly url: URL;
  readonly place: ViewerPlace;
  readonly nowS: number;
};

/** Undefined lets the request through; else a status and a code that says why, but nothing more. */
export type Refusal = { readonly status: 401 | 403; readonly code: string };

/** Decides about every request below `/live/` before anything else is done for it. Must not throw. */
export type Authoriser = (request: AccessRequest) => Promise<Refusal | undefined>;

/** Streams are public; a token is carried along and not looked at. */
export const everybody: Authoriser = () => Promise.resolve(undefined);
