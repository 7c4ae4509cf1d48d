import { fileURLToPath } from 'node:url';
import { createTestHarness } from 'wrangler';
import { EDGE_TOKEN_KEYS } from '#tests/support/edge-under-test.ts';

const CONFIG = fileURLToPath(new URL('../../wrangler.toml', import.meta.url));

/** Longer is not waited for a picture: a test may have no steering server. */
const PICTURE_DEADLINE_MS = 1_000;

/** The Worker in real workerd, as wrangler bundles it. */
export type EdgeInWorkerd = { readonly url: string; close(): Promise<void> };

export async function startEdgeInWorkerd(vars: Readonly<Record<string, string>>): Promise<EdgeInWorkerd> {
  const harness = createTestHarness({
    workers: [{ configPath: CONFIG, vars, secrets: { STEERING_TOKEN_KEYS: EDGE_TOKEN_KEYS } }],
  });
  const { url } = await harness.listen();
  // The first request bundles and starts; with a steering server that answers, the second one knows the CDNs.
  const deadlineMs = performance.now() + PICTURE_DEADLINE_MS;
  while (performance.now() < deadlineMs) {
    const ready = (await (await fetch(new URL('/readyz', url))).json()) as { readonly snapshot: string };
    if (ready.snapshot === 'live') break;
  }
  return { url: url.origin, close: () => harness.close() };
}
