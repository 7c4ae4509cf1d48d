import { readFile } from 'node:fs/promises';

/** The certificate or its key cannot be read. */
export class TlsFileError extends Error {
  readonly code = 'tls_file_unreadable';
  override readonly name = 'TlsFileError';
}

/** A setting that names a PEM file. An empty path is none. */
export type PemSetting = { readonly name: string; readonly path: string };

/**
 * The PEM texts of a service's certificate and key; `undefined` when it has none and speaks plain HTTP.
 *
 * @throws {TlsFileError} naming the setting whose file cannot be read
 */
export async function readTlsFiles(
  cert: PemSetting,
  key: PemSetting,
): Promise<{ readonly key: string; readonly cert: string } | undefined> {
  if (cert.path === '') return undefined;
  return { cert: await read(cert), key: await read(key) };
}

function read({ name, path }: PemSetting): Promise<string> {
  return readFile(path, 'utf8').catch((error: Error) => {
    throw new TlsFileError(`${name}: ${error.message}`, { cause: error });
  });
}
