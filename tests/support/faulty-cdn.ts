import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a CDN does wrong on the level of HTTP. What a TCP connection can do wrong is in `fault-proxy.ts`. */
export type HttpFault =
  | { readonly kind: 'none' }
  /** Every answer has this status. */
  | { readonly kind: 'status'; readonly status: number }
  /** Media playlists stay as they were when they were last asked for, with 200, whatever the directives say. */
  | { readonly kind: 'frozen' }
  /** Playlists are right, blocking reloads are never answered. */
  | { readonly kind: 'hang_reload' }
  /** Blocking reloads are answered at once with what is there. */
  | { readonly kind: 'no_blocking' }
  /** Parts have one byte changed. */
  | { readonly kind: 'wrong_bytes' }
  /** Parts end after half of the bytes that were announced. */
  | { readonly kind: 'truncated' }
  /** Parts are half as long, and the length says so. */
  | { readonly kind: 'short' }
  /** Plain playlists carry this Age. */
  | { readonly kind: 'age'; readonly age: string }
  /** Everything redirects there. */
  | { readonly kind: 'redirect'; readonly location: string }
  /** Playlists are of this kind instead. */
  | { readonly kind: 'body'; readonly text: string }
  /** Headers never end. */
  | { readonly kind: 'huge_headers' };

export type FaultyCdn = {
  readonly url: string;
  readonly port: number;
  fault: HttpFault;
  close(): Promise<void>;
};

/** Starts a CDN without a cache: it passes every request to the origin and spoils the answer as asked. */
export async function startFaultyCdn(originUrl: string): Promise<FaultyCdn> {
  const frozen = new Map<string, Buffer>();
  const cdn = { fault: { kind: 'none' } as HttpFault };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { fault } = cdn;
    // Errors too, so that players in a browser see their status.
    response.setHeader('access-control-allow-origin', '*');
    const url = new URL(request.url ?? '/', originUrl);
    const isPlaylist = url.pathname.endsWith('/index.m3u8');
    const isPart = url.pathname.endsWith('.m4s');
    const isReload = url.searchParams.has('_HLS_msn');
    if (fault.kind === 'status') return void response.writeHead(fault.status).end('no');
    if (fault.kind === 'redirect') return void response.writeHead(302, { location: fault.location }).end();
    if (fault.kind === 'huge_headers')
      return void response.writeHead(200, { 'x-filler': 'a'.repeat(40_000) }).end();
    if (fault.kind === 'hang_reload' && isReload) return;
    if (fault.kind === 'no_blocking') url.search = '';
    if (fault.kind === 'body' && isPlaylist) return void response.writeHead(200).end(fault.text);
    if (fault.kind === 'frozen' && isPlaylist) {
      const old = frozen.get(url.pathname);
      if (old !== undefined) return void response.writeHead(200).end(old);
    }
    const leaving = new AbortController();
    response.once('close', () => leaving.abort());
    let status: number;
    let body: Buffer;
    try {
      const upstream = await fetch(url, { signal: leaving.signal });
      status = upstream.status;
      body = Buffer.from(await upstream.arrayBuffer());
    } catch {
      return void response.writeHead(502).end();
    }
    if (isPlaylist && status === 200) frozen.set(url.pathname, body);
    if (isPart && fault.kind === 'truncated') {
      response.writeHead(200, { 'content-length': body.length });
      response.write(body.subarray(0, body.length / 2), () => response.destroy());
      return;
    }
    if (isPart && fault.kind === 'short') body = body.subarray(0, body.length / 2);
    if (isPart && fault.kind === 'wrong_bytes') body[100] = (body[100] ?? 0) ^ 1;
    const age = fault.kind === 'age' && isPlaylist && !isReload ? { age: fault.age } : {};
    response.writeHead(status, { 'content-length': body.length, ...age }).end(body);
  };

  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(cdn, {
    url: `http://127.0.0.1:${port}`,
    port,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  });
}
