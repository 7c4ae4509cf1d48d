import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HOLD_MAX_S, type CdnProgram } from '#cdn/cdn-program.ts';
import { fillTemplate } from '#cdn/template.ts';

const HERE = join(import.meta.dirname, 'trafficserver');
const READ_RETRY_MS = 10;

/** Apache Traffic Server as an LL-HLS cache; see `trafficserver/records.config`. */
export const TRAFFIC_SERVER: CdnProgram = {
  file: 'traffic_server',
  async prepare(options) {
    const { folder } = options;
    const holdS = options.holdMaxS ?? HOLD_MAX_S;
    const cacheMib = options.cacheMib ?? 256;
    // What an earlier start has kept may belong to streams that have been made anew.
    await rm(join(folder, 'cache'), { recursive: true, force: true });
    for (const name of ['etc', 'run', 'log', 'cache']) await mkdir(join(folder, name), { recursive: true });
    const fill = async (name: string, values: Readonly<Record<string, string | number>>): Promise<void> => {
      const template = await readFile(join(HERE, name), 'utf8');
      await writeFile(join(folder, 'etc', name), fillTemplate(template, values));
    };
    await fill('records.config', {
      listen: `${options.port}:ip-in=${options.host}`,
      // The account that it was started by.
      user: '#-1',
      workers: options.workers ?? 1,
      hold_s: holdS,
      read_retries: Math.ceil((holdS * 1_000) / READ_RETRY_MS),
      ram_bytes: (cacheMib / 2) * 1_048_576,
    });
    await fill('remap.config', {
      origin: new URL(options.originUrls[0] ?? '').host,
      here: join(folder, 'etc'),
    });
    await fill('canonical.lua', {});
    await writeFile(join(folder, 'etc', 'storage.config'), `${join(folder, 'cache')} ${cacheMib}M\n`);
    await writeFile(join(folder, 'etc', 'ip_allow.yaml'), IP_ALLOW);
    for (const empty of EMPTY_FILES) await writeFile(join(folder, 'etc', empty), '');
    await writeFile(join(folder, 'runroot.yaml'), runRoot(folder));
    return { file: 'traffic_server', args: [`--run-root=${join(folder, 'runroot.yaml')}`] };
  },
};

const EMPTY_FILES = [
  'plugin.config',
  'cache.config',
  'hosting.config',
  'volume.config',
  'ssl_multicert.config',
];

const IP_ALLOW = `ip_allow:
  - apply: in
    ip_addrs: 0/0
    action: allow
    methods: [GET, HEAD, OPTIONS]
  - apply: in
    ip_addrs: ::/0
    action: allow
    methods: [GET, HEAD, OPTIONS]
`;

function runRoot(folder: string): string {
  const places = {
    prefix: '/usr',
    bindir: '/usr/bin',
    libexecdir: '/usr/lib/trafficserver/modules',
    libdir: '/usr/lib/trafficserver',
    sysconfdir: join(folder, 'etc'),
    localstatedir: join(folder, 'run'),
    runtimedir: join(folder, 'run'),
    cachedir: join(folder, 'cache'),
    logdir: join(folder, 'log'),
  };
  return Object.entries(places)
    .map(([name, place]) => `${name}: ${place}\n`)
    .join('');
}
