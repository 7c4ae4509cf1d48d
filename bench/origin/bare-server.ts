import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What Node itself costs: `node bare-server.ts '{"head":…,"playlist":…,"part":…}'` answers `GET /plain` and `GET /part` at
 * once, holds `GET /held`, and releases all that is held when a `PUT /release` is in, with the bytes and headers that an
 * origin has answered. `GET /count` tells how many are held.
 */
export type BareContent = {
  /** File of the playlist's body, and its headers. */
  readonly playlist: { readonly file: string; readonly headers: Readonly<Record<string, string>> };
  readonly part: { readonly file: string; readonly headers: Readonly<Record<string, string>> };
};

type Loaded = { readonly body: Buffer; readonly headers: Readonly<Record<string, string>> };

const content = JSON.parse(process.argv[2] ?? '{}') as BareContent;
const loaded = ({ file, headers }: BareContent['part']): Loaded => {
  const body = readFileSync(file);
  return { body, headers: { ...headers, 'content-length': String(body.length) } };
};
const playlist = loaded(content.playlist);
const part = loaded(content.part);

const held: ServerResponse[] = [];
const answer = (response: ServerResponse, { body, headers }: Loaded): void => {
  response.writeHead(200, headers);
  response.end(body);
};
const server = createServer({ noDelay: true, keepAliveTimeout: 75_000 }, (request, response) => {
  switch (request.url ?? '') {
    case '/held':
      held.push(response);
      return;
    case '/part':
      return answer(response, part);
    case '/count':
      return void response.end(String(held.length));
    case '/release': {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        for (const waiting of held.splice(0)) answer(waiting, playlist);
        response.end(String(Buffer.concat(chunks).length));
      });
      return;
    }
    default:
      return answer(response, playlist);
  }
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {
  process.stdout.write(`listening on ${(server.address() as AddressInfo).port}\n`);
});
