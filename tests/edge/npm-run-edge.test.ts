import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { processTree } from '#bench/machine/process-tree.ts';
import { EDGE_TOKEN_KEYS, snapshotCdn, startStubSteering } from '#tests/support/edge-under-test.ts';
import { freePort } from '#tests/support/local-cdn.ts';
import { startLiveOrigin } from '#tests/support/live-origin.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

const ENTRY = fileURLToPath(new URL('../../edge-worker/node/wrangler-dev.ts', import.meta.url));

describe('npm run edge', () => {
  it('runs the Worker with the settings of the environment, tells no key, and ends with all it started', async () => {
    const origin = await startLiveOrigin();
    const steering = await startStubSteering([snapshotCdn('north', 'https://north.example')]);
    const port = await freePort();
    const child = spawn(process.execPath, [ENTRY], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        EDGE_HOST: '127.0.0.1',
        EDGE_PORT: String(port),
        ORIGIN_URLS: origin.url,
        EDGE_STEERING_URLS: steering.url,
        STEERING_TOKEN_KEYS: EDGE_TOKEN_KEYS,
      },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => (said += bytes.toString()));
    const ended = once(child, 'exit');
    try {
      const master = await waitFor(
        `the Worker at port ${port}`,
        async () => {
          const answer = await fetch(`http://127.0.0.1:${port}/live/demo/master.m3u8?steering=1`);
          return answer.status === 200 ? answer.text() : undefined;
        },
        { deadlineMs: 30_000, intervalMs: 200 },
      );
      expect(master).toMatch(/session=[A-Za-z0-9_-]{91}",PATHWAY-ID="north"/);
      const processes = processTree(child.pid ?? 0);
      expect(processes.length).toBeGreaterThan(1);
      child.kill('SIGINT');
      await within('the end of the Worker', 10_000, ended);
      await waitFor('all of its processes to be gone', () =>
        processes.every(({ pid }) => processTree(pid).length === 0),
      );
      expect(said.trim().split('\n')).toEqual([expect.stringContaining(`http://127.0.0.1:${port}/`)]);
    } finally {
      child.kill('SIGKILL');
      await steering.close();
      await origin.close();
    }
  }, 60_000);
});
