import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { bundlePageScript } from '#bench/browser/bundle.ts';

/** A server of the bare hls.js page. */
export type BarePageServer = {
  /** The page's address for a stream; `config` goes to hls.js as it is. */
  pageUrl(playlistUrl: string, config?: Readonly<Record<string, unknown>>): string;
  close(): Promise<void>;
};

/** Serves the bare hls.js page on a free port of this machine, from another origin than the stream. */
export async function serveBarePage(): Promise<BarePageServer> {
  const script = await bundlePageScript('bare-player');
  const server = createServer((request, response) => {
    const isScript = request.url === '/player.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(
      isScript ? script : '<!doctype html><title>bare</title><body><script src="/player.js"></script>',
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    pageUrl(playlistUrl, config = {}) {
      const query = new URLSearchParams({ src: playlistUrl, config: JSON.stringify(config) });
      return `http://127.0.0.1:${port}/?${query.toString()}`;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
