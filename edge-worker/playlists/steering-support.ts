/**
 * Players that are known to follow EXT-X-CONTENT-STEERING, by what they call themselves. In a browser it is a player of
 * ours or another library, and all of note steer; Apple's and ExoPlayer's successor say their own names. A player that
 * steers but is not here gets one CDN and is moved by its playlists, which is right as well.
 */
const STEERS: readonly RegExp[] = [
  /^Mozilla\/5\.0 /,
  /^AppleCoreMedia\//,
  /\bAndroidXMedia3\/(?:1\.(?:1[1-9]|[2-9]\d)|[2-9]\.|[1-9]\d\.)/,
];
/** Built-in players of television sets call themselves browsers. */
const DOES_NOT: readonly RegExp[] = [/\b(?:Roku|GStreamer|Lavf|VLC|libmpv|ExoPlayerLib)\//];

/** What the viewer's URL says: `steering=1` or `steering=0` overrules everything. */
export type SteeringWish = 'yes' | 'no' | undefined;

export function steeringWish(query: URLSearchParams): SteeringWish {
  const said = query.get('steering');
  if (said === '1') return 'yes';
  return said === '0' ? 'no' : undefined;
}

/** Whether a player that calls itself so steers. */
export function isKnownToSteer(userAgent: string | null): boolean {
  if (userAgent === null || DOES_NOT.some((pattern) => pattern.test(userAgent))) return false;
  return STEERS.some((pattern) => pattern.test(userAgent));
}
