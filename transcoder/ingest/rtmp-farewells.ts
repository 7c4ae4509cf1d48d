/** What a peer is told before its connection ends. @spec RTMP 1.0 §7.2.2 */
export type Farewell = {
  readonly level: 'status' | 'error';
  readonly code: string;
  readonly description: string;
};

const NO_PLAYBACK = 'Nothing is played here; streams are played over HTTP.';

/** The farewells, by what has happened. They never name a stream key. */
export const FAREWELLS = {
  streamNameInvalid: badName('The stream key is missing or malformed.'),
  streamKeyUnknown: badName('No stream has this key.'),
  streamBusy: badName('This stream has a publisher.'),
  unpublished: status('NetStream.Unpublish.Success', 'Publishing has ended.'),
  playRefused: error('NetStream.Play.Failed', NO_PLAYBACK),
  originUnavailable: error('NetStream.Failed', 'The stream key could not be checked; try again.'),
} as const satisfies Record<string, Farewell>;

/** The farewell to a publisher whose stream was ended by others. */
export function revokedFarewell(code: string): Farewell {
  return error('NetStream.Failed', `The stream was ended (${code}).`);
}

/** The farewell to a publisher of something that we cannot use. */
export function unsupportedFarewell(what: string): Farewell {
  return error('NetStream.Failed', `Not supported: ${what}.`);
}

function status(code: string, description: string): Farewell {
  return { level: 'status', code, description };
}

function error(code: string, description: string): Farewell {
  return { level: 'error', code, description };
}

function badName(description: string): Farewell {
  return error('NetStream.Publish.BadName', description);
}
