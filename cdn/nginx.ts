import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HOLD_MAX_S, type CdnOptions, type CdnProgram } from '#cdn/cdn-program.ts';
import { fillTemplate, withoutFeature } from '#cdn/template.ts';

const HERE = join(import.meta.dirname, 'nginx');
const MODULES = '/usr/lib/nginx/modules';

/** Whether nginx can wake those who wait for an object; without the Lua module it looks every 500 ms. */
export function hasLua(): boolean {
  return (
    existsSync(join(MODULES, 'ngx_http_lua_module.so')) && existsSync(join(MODULES, 'ndk_http_module.so'))
  );
}

/** nginx as an LL-HLS cache; see `nginx/nginx.conf`. */
export const NGINX: CdnProgram = {
  file: 'nginx',
  async prepare(options) {
    const { folder } = options;
    // What an earlier start has kept may belong to streams that have been made anew.
    await rm(join(folder, 'cache'), { recursive: true, force: true });
    await mkdir(join(folder, 'cache'), { recursive: true });
    const lua = options.withoutLua !== true && hasLua();
    // Without Lua nothing here can check tokens, and an unchecked CDN must not speak for the viewer.
    const checked = lua ? options : { ...options, pullToken: '' };
    const template = await readFile(join(HERE, 'nginx.conf'), 'utf8');
    const values = nginxValues(checked);
    const missing = [lua ? '' : 'lua', values['checks_tokens'] === 'true' ? 'no-pull' : 'pull'];
    await writeFile(
      join(folder, 'nginx.conf'),
      fillTemplate(missing.reduce(withoutFeature, template), values),
      // It may hold the pull token.
      { mode: 0o600 },
    );
    if (lua) {
      const collapse = await readFile(join(HERE, 'collapse.lua'), 'utf8');
      await writeFile(join(folder, 'collapse.lua'), fillTemplate(collapse, values));
    }
    return {
      file: 'nginx',
      args: ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')],
    };
  },
};

function nginxValues(options: CdnOptions): Record<string, string | number> {
  const { folder, originUrls, pullToken = '' } = options;
  const hosts = originUrls.map((url) => new URL(url).host);
  const server = (host: string, index: number): string =>
    `server ${host} max_fails=2 fail_timeout=2s${index === 0 ? '' : ' backup'};`;
  return {
    folder,
    modules: MODULES,
    here: folder,
    // Started by root, workers would change to an account that cannot enter the folder.
    user: process.getuid?.() === 0 ? 'user root;' : '',
    workers: options.workers ?? 1,
    listen: `${options.host}:${options.port}`,
    access_log: options.accessLog === true ? `"${folder}/access.log" line` : 'off',
    cache_mib: options.cacheMib ?? 512,
    servers: hosts.map(server).join('\n    '),
    origin_host: hosts[0] ?? '',
    hold_s: options.holdMaxS ?? HOLD_MAX_S,
    authorization: pullToken === '' ? '' : `Bearer ${pullToken}`,
    checks_tokens: pullToken === '' ? 'false' : 'true',
  };
}
