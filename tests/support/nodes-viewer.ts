import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { OriginNode } from '#tests/support/origin-nodes.ts';

/** What a viewer has seen of one rendition. */
export type NodesViewer = {
  /** Newest part that a playlist has listed, as `msn * 1000 + part`. */
  readonly newest: () => number;
  /** Everything that a player must never see. */
  readonly violations: readonly string[];
  /** Longest time between two new parts so far, ms. */
  readonly longestWaitMs: () => number;
  /** Parts listed with GAP=YES. */
  readonly gaps: () => number;
  stop(): Promise<void>;
};

/** Bytes by URL path, shared by all viewers of a test: no URL may ever have two bodies, whoever answers. */
export class SeenBodies {
  readonly #digests = new Map<string, string>();

  /** Remembers a body; false when another one was seen under the path. */
  add(path: string, body: Uint8Array): boolean {
    const digest = createHash('sha256').update(body).digest('hex');
    const known = this.#digests.get(path);
    if (known === undefined) this.#digests.set(path, digest);
    return known === undefined || known === digest;
  }
}

/**
 * Watches a rendition at its live edge: blocking reloads, every new part, and each segment; goes to the next of the
 * origins when one fails, as a CDN does.
 */
export function watchNodes(
  nodes: readonly OriginNode[],
  path: string,
  bodies: SeenBodies,
  first = 0,
): NodesViewer {
  const stop = new AbortController();
  const violations: string[] = [];
  const seen = new Set<string>();
  let newest = 0;
  let index = first;
  let gaps = 0;
  let lastAtMs = performance.now();
  let longestWaitMs = 0;

  const get = async (file: string): Promise<Response | undefined> => {
    const node = nodes[index % nodes.length] as OriginNode;
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(3_000)]);
    try {
      const response = await fetch(`${node.url}${path}/${file}`, { signal });
      if (response.status < 400) return response;
      await response.body?.cancel();
      if (response.status === 404 && file.endsWith('.m4s')) return undefined;
    } catch {
      // Gone, or hanging: the next one.
    }
    index += 1;
    return undefined;
  };
  const fetchOnce = async (file: string): Promise<void> => {
    if (seen.has(file)) return;
    const response = await get(file);
    if (response === undefined) return;
    seen.add(file);
    const body = new Uint8Array(await response.arrayBuffer());
    if (!bodies.add(`${path}/${file}`, body)) violations.push(`${file} has two bodies`);
  };
  const read = async (text: string): Promise<void> => {
    const parts = [...text.matchAll(/^#EXT-X-PART:.*URI="(\d+)\.(\d+)\.m4s".*$/gm)];
    const last = parts.at(-1);
    if (last === undefined) return;
    const position = Number(last[1]) * 1_000 + Number(last[2]);
    if (position < newest) violations.push(`${position} came after ${newest}`);
    if (position > newest) {
      longestWaitMs = newest === 0 ? 0 : Math.max(longestWaitMs, performance.now() - lastAtMs);
      lastAtMs = performance.now();
    }
    const fresh = parts.filter(([, msn, part]) => Number(msn) * 1_000 + Number(part) > newest);
    gaps += newest === 0 ? 0 : fresh.filter(([line]) => line.includes('GAP=YES')).length;
    newest = Math.max(newest, position);
    for (const [line, msn, part] of fresh)
      if (!line.includes('GAP=YES')) await fetchOnce(`${msn}.${part}.m4s`);
    const segments = [...text.matchAll(/^(\d+)\.m4s$/gm)].map(([name]) => name);
    const complete = segments.at(-1);
    if (complete !== undefined) await fetchOnce(complete);
  };
  const watching = (async () => {
    while (!stop.signal.aborted) {
      const query =
        newest === 0 ? '' : `?_HLS_msn=${Math.floor(newest / 1_000)}&_HLS_part=${(newest % 1_000) + 1}`;
      const response = await get(`index.m3u8${query}`);
      if (response === undefined) await delay(50, undefined, { signal: stop.signal }).catch(() => undefined);
      else await read(await response.text()).catch(() => undefined);
    }
  })();
  return {
    newest: () => newest,
    violations,
    longestWaitMs: () => longestWaitMs,
    gaps: () => gaps,
    stop: async () => {
      stop.abort();
      await watching;
    },
  };
}
