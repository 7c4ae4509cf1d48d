import type { RenderedPlaylist } from '#origin/live/playlist-snapshot.ts';

/** What a viewer takes from a playlist. */
export type PlaylistView = {
  readonly text: string;
  readonly mediaSequence: number;
  /** What comes next, as the preload hint says; undefined when the playlist has ended. */
  readonly next: { readonly msn: number; readonly part: number } | undefined;
  /** Grows with every part: where the hint stands, or the end. */
  readonly lastCell: number;
  readonly isEnded: boolean;
  /** Everything listed that has a body, oldest first; init segments apart. */
  readonly uris: readonly string[];
  readonly initUris: readonly string[];
  /** Parts that are listed with media. */
  readonly mediaParts: readonly string[];
};

const views = new WeakMap<RenderedPlaylist, PlaylistView>();

/** Reads a playlist, once for all who get it. */
export function viewOf(rendered: RenderedPlaylist): PlaylistView {
  const known = views.get(rendered);
  if (known !== undefined) return known;
  const view = parse(new TextDecoder().decode(rendered.identity));
  views.set(rendered, view);
  return view;
}

function parse(text: string): PlaylistView {
  const uris: string[] = [];
  const mediaParts: string[] = [];
  let isGap = false;
  for (const line of text.split('\n')) {
    if (line === '#EXT-X-GAP') isGap = true;
    const part = /^#EXT-X-PART:.*URI="([^"]+)"/.exec(line)?.[1];
    if (part !== undefined && !line.includes('GAP=YES')) {
      uris.push(part);
      mediaParts.push(part);
    }
    if (line !== '' && !line.startsWith('#')) {
      if (!isGap) uris.push(line);
      isGap = false;
    }
  }
  const hint = /TYPE=PART,URI="(\d+)\.(\d+)\.m4s"/.exec(text);
  const next = hint === null ? undefined : { msn: Number(hint[1]), part: Number(hint[2]) };
  const mediaSequence = Number(/#EXT-X-MEDIA-SEQUENCE:(\d+)/.exec(text)?.[1]);
  const lastSegment = Number(/(\d+)\.m4s\n(?![^]*\n\d+\.m4s)/.exec(text)?.[1] ?? mediaSequence);
  return {
    text,
    mediaSequence,
    next,
    lastCell: next === undefined ? (lastSegment + 1) * 100 : next.msn * 100 + next.part,
    isEnded: text.includes('#EXT-X-ENDLIST'),
    uris,
    initUris: [...text.matchAll(/#EXT-X-MAP:URI="([^"]+)"/g)].map((map) => map[1] ?? ''),
    mediaParts,
  };
}
