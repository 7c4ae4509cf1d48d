import { base64UrlToBytes } from '#protocol/access/access-keys.ts';

/** Keys of session tokens as a setting writes them: `id:secret[,id:secret]`. The first signs, both are accepted. */
export function parseSessionTokenKeys(
  text: string,
): readonly { readonly id: number; readonly secret: Uint8Array }[] | undefined {
  if (text === '') return [];
  const keys: { id: number; secret: Uint8Array }[] = [];
  for (const entry of text.split(',')) {
    const match = /^(\d{1,4}):([A-Za-z0-9_-]+)={0,2}$/.exec(entry.trim());
    const secret = match === null ? undefined : base64UrlToBytes(match[2] ?? '');
    if (match === null || secret === undefined || secret.length < SECRET_BYTES_MIN) return undefined;
    keys.push({ id: Number(match[1]), secret });
  }
  const areRight =
    keys.every(({ id }) => id <= KEY_ID_MAX) && new Set(keys.map(({ id }) => id)).size === keys.length;
  return areRight && keys.length <= KEYS_MAX ? keys : undefined;
}

const SECRET_BYTES_MIN = 32;
const KEY_ID_MAX = 4_095;
const KEYS_MAX = 2;
