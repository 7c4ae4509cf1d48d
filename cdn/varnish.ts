import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HOLD_MAX_S, type CdnOptions, type CdnProgram } from '#cdn/cdn-program.ts';
import { fillTemplate } from '#cdn/template.ts';

/** Every waiter that Varnish wakes wakes so many more; 500 viewers of one part are one wave. */
const RUSH_EXPONENT = 20;

/** Varnish as an LL-HLS cache; see `varnish/edge.vcl`. */
export const VARNISH: CdnProgram = {
  file: 'varnishd',
  async prepare(options) {
    const { folder } = options;
    const template = await readFile(join(import.meta.dirname, 'varnish', 'edge.vcl'), 'utf8');
    await writeFile(join(folder, 'edge.vcl'), fillTemplate(template, varnishValues(options)));
    return {
      file: 'varnishd',
      args: [
        ['-F', '-n', join(folder, 'work'), '-f', join(folder, 'edge.vcl')],
        ['-a', `${options.host}:${options.port}`, '-T', 'none', '-j', 'none'],
        ['-s', `malloc,${options.cacheMib ?? 256}m`],
        ['-p', 'thread_pools=1', '-p', 'thread_pool_min=50', '-p', 'thread_pool_max=2000'],
        ['-p', `rush_exponent=${RUSH_EXPONENT}`, '-p', 'vsl_space=4m', '-p', 'timeout_idle=75'],
        ['-p', 'backend_idle_timeout=60'],
      ].flat(),
    };
  },
};

function varnishValues({ originUrls, holdMaxS = HOLD_MAX_S }: CdnOptions): Record<string, string> {
  const origins = originUrls.map((url) => new URL(url));
  const backend = ({ hostname, port }: URL, index: number): string =>
    [
      `backend origin_${index} {`,
      `  .host = "${hostname}";`,
      `  .port = "${port || '80'}";`,
      '  .connect_timeout = 1s;',
      // A held request may last three target durations.
      `  .first_byte_timeout = ${holdMaxS}s;`,
      `  .between_bytes_timeout = ${holdMaxS}s;`,
      ...(origins.length > 1 ? [PROBE] : []),
      '}',
    ].join('\n');
  return {
    backends: origins.map(backend).join('\n'),
    members: origins.map((_, index) => `  origin.add_backend(origin_${index});`).join('\n'),
    origin_host: origins[0]?.host ?? '',
  };
}

/** The next backend is only asked when the one before is known to be away. */
const PROBE =
  '  .probe = { .url = "/healthz"; .interval = 1s; .timeout = 1s; .window = 3; .threshold = 2; .initial = 2; }';
