import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A made-up live stream served by LL-HLS rules: time decides which parts exist, numbers decide their bytes. */
export type SyntheticOrigin = {
  readonly url: string;
  readonly port: number;
  /** Requests seen, path and query. */
  readonly requests: string[];
  /** Parts go on coming or stop; a stopped origin answers blocking reloads with 503 after three target durations. */
  setLive(live: boolean): void;
  /** Appends EXT-X-ENDLIST. */
  end(): void;
  close(): Promise<void>;
};

export type SyntheticOptions = {
  readonly partMs?: number;
  readonly partsPerSegment?: number;
  /** Bandwidths of the renditions, best first; the bytes of a part follow from them. */
  readonly bandwidthsBps?: readonly number[];
};

const SEGMENTS_LISTED = 6;

/**
 * Starts an origin with streams of any id, renditions `r0`, `r1`, …; part `n` exists from `n × partMs` after the start on.
 * It is no origin of ours: just enough of one to test what watches origins and CDNs.
 */
export async function startSyntheticOrigin(options: SyntheticOptions = {}): Promise<SyntheticOrigin> {
  const partMs = options.partMs ?? 250;
  const partsPerSegment = options.partsPerSegment ?? 4;
  const bandwidths = options.bandwidthsBps ?? [2_000_000, 500_000];
  const targetDurationS = Math.ceil((partMs * partsPerSegment) / 1_000);
  const startMs = performance.now() - partMs * partsPerSegment * (SEGMENTS_LISTED + 1);
  const requests: string[] = [];
  const waiting = new Set<() => void>();
  let stoppedAt: number | undefined;
  let ended = false;

  const partCount = (): number => stoppedAt ?? Math.floor((performance.now() - startMs) / partMs);
  const timer = setInterval(() => {
    for (const wake of waiting) wake();
  }, 5);

  const playlist = (): string => {
    const parts = partCount();
    const complete = Math.floor(parts / partsPerSegment);
    const first = Math.max(0, complete - SEGMENTS_LISTED);
    const partS = (partMs / 1_000).toFixed(5);
    const lines = [
      '#EXTM3U',
      '#EXT-X-VERSION:9',
      `#EXT-X-TARGETDURATION:${targetDurationS}`,
      `#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=${((3 * partMs) / 1_000).toFixed(3)}`,
      `#EXT-X-PART-INF:PART-TARGET=${partS}`,
      `#EXT-X-MEDIA-SEQUENCE:${first}`,
      '#EXT-X-MAP:URI="init-0.mp4"',
    ];
    for (let msn = first; msn <= complete; msn++) {
      const count = msn === complete ? parts % partsPerSegment : partsPerSegment;
      if (msn > complete - 3)
        for (let part = 0; part < count; part++)
          lines.push(
            `#EXT-X-PART:DURATION=${partS},URI="${msn}.${part}.m4s"${part === 0 ? ',INDEPENDENT=YES' : ''}`,
          );
      if (msn < complete)
        lines.push(`#EXTINF:${((partMs * partsPerSegment) / 1_000).toFixed(5)},`, `${msn}.m4s`);
    }
    if (ended) lines.push('#EXT-X-ENDLIST');
    else lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${complete}.${parts % partsPerSegment}.m4s"`);
    return `${lines.join('\n')}\n`;
  };

  const until = (parts: number, request: IncomingMessage): Promise<boolean> =>
    new Promise((resolve) => {
      const deadlineMs = performance.now() + 3_000 * targetDurationS;
      const done = (value: boolean): void => {
        waiting.delete(check);
        resolve(value);
      };
      const check = (): void => {
        if (ended || partCount() >= parts) done(true);
        else if (request.destroyed || performance.now() > deadlineMs) done(false);
      };
      waiting.add(check);
      check();
    });

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://origin');
    requests.push(url.pathname + url.search);
    // What a steering server asks an origin for, to know what to probe.
    if (url.pathname === '/api/v1/live')
      return send(response, JSON.stringify({ streams: ended ? [] : [{ id: 'demo' }] }), 'no-store');
    const [, stream, rendition, file] = /^\/live\/([\w-]+)\/(?:(r\d)\/)?([\w.-]+)$/.exec(url.pathname) ?? [];
    if (stream === undefined || file === undefined) return void response.writeHead(404).end();
    if (file === 'master.m3u8') {
      const lines = bandwidths.flatMap((bandwidth, index) => [
        `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth},CODECS="avc1.64001f"`,
        `r${index}/index.m3u8`,
      ]);
      return send(response, `#EXTM3U\n#EXT-X-VERSION:9\n${lines.join('\n')}\n`, 'max-age=1');
    }
    const bandwidth = bandwidths[Number(rendition?.slice(1))];
    if (bandwidth === undefined) return void response.writeHead(404).end();
    if (file === 'index.m3u8') {
      const msn = url.searchParams.get('_HLS_msn');
      if (msn === null) return send(response, playlist(), 'max-age=1');
      const wanted = Number(msn) * partsPerSegment + Number(url.searchParams.get('_HLS_part') ?? 0) + 1;
      if (wanted > partCount() + 2 * partsPerSegment) return void response.writeHead(400).end();
      if (!(await until(wanted, request))) return void response.writeHead(503).end();
      return send(response, playlist(), 'max-age=12');
    }
    const [, msn, part] = /^(\d+)\.(\d+)\.m4s$/.exec(file) ?? [];
    if (msn === undefined || part === undefined) return void response.writeHead(404).end();
    const index = Number(msn) * partsPerSegment + Number(part);
    if (index > partCount()) return void response.writeHead(404).end();
    if (!(await until(index + 1, request))) return void response.writeHead(404).end();
    const bytes = Math.round((bandwidth * partMs) / 8_000);
    send(response, Buffer.alloc(bytes, `${stream}/${rendition}/${msn}.${part}|`), 'max-age=3600, immutable');
  };

  const server: Server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    setLive: (live) => {
      stoppedAt = live ? undefined : (stoppedAt ?? partCount());
    },
    end: () => {
      ended = true;
    },
    close: async () => {
      clearInterval(timer);
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function send(response: ServerResponse, body: string | Buffer, cacheControl: string): void {
  response.writeHead(200, {
    'content-length': Buffer.byteLength(body),
    'cache-control': cacheControl,
    'access-control-allow-origin': '*',
  });
  response.end(body);
}
