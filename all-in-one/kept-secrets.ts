import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const TOKEN_BYTES = 24;
const FILE_NAME = 'secrets.json';
const OWNER_ONLY = 0o600;

const KeptSecretsFile = z.object({
  adminToken: z.string().min(16).max(256),
  ingestToken: z.string().min(16).max(256),
});
type KeptSecretsFile = z.infer<typeof KeptSecretsFile>;

/** The file of kept secrets cannot be read, written or understood. */
export class KeptSecretsError extends Error {
  readonly code = 'kept_secrets_unusable';
  override readonly name = 'KeptSecretsError';
}

/**
 * The secrets that a start without any in its environment makes up, in `DATA_DIR/secrets.json`, readable by the owner
 * only: a restart keeps them, so that the API clients of yesterday still get in today.
 */
export class KeptSecrets {
  readonly path: string;
  readonly #values: KeptSecretsFile;

  private constructor(path: string, values: KeptSecretsFile) {
    this.path = path;
    this.#values = values;
  }

  /**
   * Reads the file of a data folder, creating folder and file the first time.
   *
   * @throws {KeptSecretsError} saying what to do
   */
  static async open(dataDir: string): Promise<KeptSecrets> {
    const path = join(dataDir, FILE_NAME);
    try {
      await mkdir(dataDir, { recursive: true });
      const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
      if (text === undefined) {
        const fresh = new KeptSecrets(path, { adminToken: newToken(), ingestToken: newToken() });
        await fresh.#write();
        return fresh;
      }
      // Copied or restored files may have lost their mode.
      await chmod(path, OWNER_ONLY);
      return new KeptSecrets(path, parse(path, text));
    } catch (error) {
      if (error instanceof KeptSecretsError) throw error;
      throw new KeptSecretsError(
        `DATA_DIR: cannot use ${path} (${(error as Error).message}); make the folder writable or choose another`,
        { cause: error },
      );
    }
  }

  get adminToken(): string {
    return this.#values.adminToken;
  }

  get ingestToken(): string {
    return this.#values.ingestToken;
  }

  async #write(): Promise<void> {
    // Written beside and renamed, so that a full disk or a kill leaves the old file.
    const beside = `${this.path}.new`;
    await writeFile(beside, `${JSON.stringify(this.#values, undefined, 2)}\n`, { mode: OWNER_ONLY });
    await rename(beside, this.path);
  }
}

function parse(path: string, text: string): KeptSecretsFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message would repeat a piece of the file, which holds secrets.
    json = undefined;
  }
  const parsed = KeptSecretsFile.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new KeptSecretsError(
    `${path} is damaged; restore it, or remove it: the next start then makes new tokens`,
  );
}

function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}
