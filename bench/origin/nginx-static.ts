import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startServer, type ServerProcess } from '#bench/origin/server-process.ts';

const NGINX = '/usr/sbin/nginx';
const READY_TRIES = 50;

/**
 * One nginx worker that serves the files of a folder from the kernel's page cache: the limit of what a server can do.
 *
 * @returns undefined where there is no nginx
 */
export async function startNginx(core: number, folder: string): Promise<ServerProcess | undefined> {
  if (!existsSync(NGINX)) return undefined;
  // Its worker gives up root's rights, and a new temporary folder is closed to all others.
  await chmod(folder, 0o755);
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  await writeFile(
    file,
    `worker_processes 1; daemon off; pid ${join(folder, 'nginx.pid')}; error_log stderr notice;
events { worker_connections 20000; }
http {
  ${temporary.join(' ')}
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; open_file_cache max=100;
  types { application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }
  add_header Cache-Control "public, max-age=12"; add_header Access-Control-Allow-Origin "*"; add_header Vary "Accept-Encoding";
  add_header Access-Control-Expose-Headers "Age, Content-Length, Content-Range, Date, ETag, Retry-After";
  server { listen 127.0.0.1:${port} backlog=4096; root ${folder}; location = /index.m3u8 { add_header Content-Encoding gzip; } }
}
`,
  );
  const server = await startServer({
    name: 'nginx',
    core,
    command: [NGINX, '-e', 'stderr', '-p', folder, '-c', file],
    ready: /start worker process (\d+)/,
    counts: (commandLine) => commandLine.includes('worker'),
  });
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://127.0.0.1:${port}/part.m4s`).catch(() => undefined);
    if (answer?.ok === true) break;
    if (tries === READY_TRIES) throw new Error('nginx does not answer');
    await delay(50);
  }
  return { ...server, port };
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
