import { fileURLToPath } from 'node:url';
import { createTestHarness } from 'wrangler';
import { EDGE_TOKEN_KEYS } from '#tests/support/edge-under-test.ts';

const CONFIG = fileURLToPath(new URL('../../wrangler.toml', import.meta.url));

/** The Worker in real workerd, as wrangler bundles it. */
export type EdgeInWorkerd = { readonly url: string; close(): Promise<void> };

export async function startEdgeInWorkerd(vars: Readonly<Record<string, string>>): Promise<EdgeInWorkerd> {
  const harness = createTestHarness({
    workers: [{ configPath: CONFIG, vars, secrets: { STEERING_TOKEN_KEYS: EDGE_TOKEN_KEYS } }],
  });
  const { url } = await harness.listen();
  return { url: url.origin, close: () => harness.close() };
}
