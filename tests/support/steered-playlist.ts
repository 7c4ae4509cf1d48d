/** What a steered multivariant playlist is made of. */
export type SteeredPlaylistParts = {
  /** The multivariant playlist of one origin, with relative URIs. */
  readonly master: string;
  /** URL of the folder that `master` came from, per pathway; it ends in a slash. */
  readonly pathways: ReadonlyMap<string, string>;
  /** The pathway to begin with. */
  readonly first: string;
  /** Absolute URL of the steering server for this session. */
  readonly serverUri: string;
};

/**
 * Makes a multivariant playlist with one pathway per CDN: for each the same ladder in the same order, with audio groups of
 * its own.
 *
 * @spec rfc8216bis §4.4.6.6, §7.1
 */
export function steeredPlaylist({ master, pathways, first, serverUri }: SteeredPlaylistParts): string {
  const lines = master.split('\n').filter((line) => line !== '');
  const isLadder = (line: string): boolean =>
    !line.startsWith('#') || line.startsWith('#EXT-X-STREAM-INF:') || line.startsWith('#EXT-X-MEDIA:');
  const ladders = [...pathways].flatMap(([name, folder]) =>
    lines.filter(isLadder).map((line) => {
      if (!line.startsWith('#')) return new URL(line, folder).href;
      const own = line
        .replace(/([:,](?:AUDIO|GROUP-ID)=")([^"]*)"/g, `$1$2-${name}"`)
        .replace(/([:,]URI=")([^"]*)"/, (_, before: string, uri: string) => {
          return `${before}${new URL(uri, folder).href}"`;
        });
      return line.startsWith('#EXT-X-STREAM-INF:') ? `${own},PATHWAY-ID="${name}"` : own;
    }),
  );
  return [
    ...lines.filter((line) => !isLadder(line)),
    `#EXT-X-CONTENT-STEERING:SERVER-URI="${serverUri}",PATHWAY-ID="${first}"`,
    ...ladders,
    '',
  ].join('\n');
}
