import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readEdgeNodeSettings } from '#edge-worker/node/edge-node-settings.ts';
import { EDGE_SETTINGS } from '#edge-worker/settings.ts';

/**
 * `npm run edge`: the Worker in real workerd on this machine, by `wrangler dev`, with the settings of the environment. It
 * asks nobody else: no account, no telemetry, no look-up of where the machine is.
 */
const CONFIG = fileURLToPath(new URL('../../wrangler.toml', import.meta.url));
const WRANGLER = join(
  dirname(createRequire(import.meta.url).resolve('wrangler/package.json')),
  'bin/wrangler.js',
);

const { EDGE_HOST, EDGE_PORT } = readEdgeNodeSettings(process.env);
const passed = ['PATH', 'HOME', ...Object.keys(EDGE_SETTINGS)].flatMap((name) => {
  const value = process.env[name];
  return value === undefined ? [] : [[name, value] as const];
});
const args = ['dev', '--local', '--config', CONFIG, '--ip', EDGE_HOST, '--port', String(EDGE_PORT)];
const quiet = ['--inspector-port', '0', '--show-interactive-dev-session=false', '--log-level', 'warn'];
const child = spawn(process.execPath, [WRANGLER, ...args, ...quiet], {
  stdio: ['ignore', 'inherit', 'inherit'],
  env: {
    ...Object.fromEntries(passed),
    // Settings become bindings by the environment: on the command line everybody could read the keys.
    CLOUDFLARE_INCLUDE_PROCESS_ENV: 'true',
    CI: '1',
    WRANGLER_SEND_METRICS: 'false',
    WRANGLER_HIDE_BANNER: 'true',
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  },
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill('SIGINT'));
child.once('exit', (code) => {
  process.exitCode = code ?? 0;
});
process.stdout.write(`The edge starts in workerd at http://${EDGE_HOST}:${EDGE_PORT}/ (Ctrl-C ends it)\n`);
