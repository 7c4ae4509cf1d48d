import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip, constants } from 'node:zlib';
import { buildSync } from 'esbuild';

/** One file of the player page, ready to be sent. */
export type PlayerAsset = {
  /** Absolute path it is served at; files other than the page carry a hash of their content in it. */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly gzip: Uint8Array<ArrayBuffer>;
  /** Strong validator of the plain body, quotes included. */
  readonly etag: string;
};

/** The page and what it loads. */
export type PlayerAssets = {
  readonly page: PlayerAsset;
  readonly files: readonly PlayerAsset[];
};

const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#d6294a"/>' +
  '<path d="M13 10.5v11l9-5.5z" fill="#fff"/></svg>';

/**
 * Bundles the page's script (with hls.js) and style sheet, minified, and compresses everything once. Blocks for
 * about 0.1 s, once, while a service starts.
 *
 * @throws when the browser code does not bundle, with esbuild's message
 */
export async function bundlePlayer(): Promise<PlayerAssets> {
  const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  // The synchronous build leaves no compiler process behind, which the other would keep for as long as the service runs.
  const bundled = buildSync({
    entryPoints: { player: here('browser/main.ts'), style: here('browser/style.css') },
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
    const file = bundled.outputFiles.find(({ path }) => path.endsWith(extension));
    if (file === undefined) throw new Error(`the player bundle has no ${extension} file`);
    return file.contents;
  };
  const script = await hashedAsset('player', 'js', 'text/javascript; charset=utf-8', output('.js'));
  const style = await hashedAsset('player', 'css', 'text/css; charset=utf-8', output('.css'));
  const icon = await hashedAsset('icon', 'svg', 'image/svg+xml', Buffer.from(ICON));
  const template = await readFile(here('browser/page.html'), 'utf8');
  const html = template
    .replace('{{script}}', script.path)
    .replace('{{style}}', style.path)
    .replace('{{icon}}', icon.path);
  const page = await asset('/', 'text/html; charset=utf-8', Buffer.from(html));
  return { page, files: [script, style, icon] };
}

async function hashedAsset(
  name: string,
  extension: string,
  contentType: string,
  body: Uint8Array,
): Promise<PlayerAsset> {
  return asset(`/player/${name}-${digest(body)}.${extension}`, contentType, body);
}

async function asset(path: string, contentType: string, body: Uint8Array): Promise<PlayerAsset> {
  const compressed = await promisify(gzip)(body, { level: constants.Z_BEST_COMPRESSION });
  return {
    path,
    contentType,
    body: new Uint8Array(body),
    gzip: new Uint8Array(compressed),
    etag: `"${digest(body)}"`,
  };
}

function digest(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('base64url').slice(0, 16);
}
