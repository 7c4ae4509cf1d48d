import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Bundles a script of `bench/browser/page/` for the browser, hls.js from node_modules included. */
export async function bundlePageScript(name: 'screen-probe' | 'bare-player'): Promise<string> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL(`./page/${name}.ts`, import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'chrome120',
    logLevel: 'silent',
  });
  const [file] = result.outputFiles;
  if (file === undefined) throw new Error(`esbuild made nothing of ${name}`);
  return file.text;
}
