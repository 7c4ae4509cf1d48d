import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

/** One file of the console, ready to be sent. */
export type ConsoleAsset = {
  /** Name below `/console/`; files other than the page carry a hash of their content in it, the page's is empty. */
  readonly name: string;
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Strong validator, quotes included. */
  readonly etag: string;
};

/** The page and what it loads. */
export type ConsoleAssets = { readonly page: ConsoleAsset; readonly files: readonly ConsoleAsset[] };

const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1d4ed8"/>' +
  '<path d="M6 22h20M9 22V12m7 10V7m7 15v-7" stroke="#fff" stroke-width="3" stroke-linecap="round" fill="none"/></svg>';

/**
 * Bundles the console's script and style sheet. Blocks for some tens of ms, once, while the service starts.
 *
 * @throws when the browser code does not bundle, with esbuild's message
 */
export async function bundleConsole(): Promise<ConsoleAssets> {
  const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  // The synchronous build leaves no compiler process behind.
  const { outputFiles } = buildSync({
    entryPoints: { console: here('browser/main.ts'), style: here('browser/style.css') },
    bundle: true,
    minify: true,
    write: false,
    outdir: here('.'),
    format: 'esm',
    target: ['es2022', 'chrome107', 'firefox104', 'safari16'],
    legalComments: 'none',
    logLevel: 'silent',
  });
  const output = (extension: string): Uint8Array => {
    const file = outputFiles.find(({ path }) => path.endsWith(extension));
    if (file === undefined) throw new Error(`the console's bundle has no ${extension} file`);
    return file.contents;
  };
  const script = hashed('console', 'js', 'text/javascript; charset=utf-8', output('.js'));
  const style = hashed('console', 'css', 'text/css; charset=utf-8', output('.css'));
  const icon = hashed('icon', 'svg', 'image/svg+xml', Buffer.from(ICON));
  const html = (await readFile(here('browser/page.html'), 'utf8'))
    .replace('{{script}}', script.name)
    .replace('{{style}}', style.name)
    .replace('{{icon}}', icon.name);
  return { page: asset('', 'text/html; charset=utf-8', Buffer.from(html)), files: [script, style, icon] };
}

function hashed(name: string, extension: string, contentType: string, body: Uint8Array): ConsoleAsset {
  return asset(`${name}-${digest(body)}.${extension}`, contentType, body);
}

function asset(name: string, contentType: string, body: Uint8Array): ConsoleAsset {
  return { name, contentType, body: new Uint8Array(body), etag: `"${digest(body)}"` };
}

function digest(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('base64url').slice(0, 16);
}
