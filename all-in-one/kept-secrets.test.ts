import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeptSecrets, KeptSecretsError } from '#all-in-one/kept-secrets.ts';

describe('KeptSecrets', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kept-secrets-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('makes two different long tokens the first time, in a folder that need not exist', async () => {
    const secrets = await KeptSecrets.open(join(folder, 'a/b'));
    expect(secrets.adminToken).toMatch(/^[\w-]{32}$/);
    expect(secrets.ingestToken).toMatch(/^[\w-]{32}$/);
    expect(secrets.ingestToken).not.toBe(secrets.adminToken);
  });

  it('keeps them for the next start', async () => {
    const first = await KeptSecrets.open(folder);
    const second = await KeptSecrets.open(folder);
    expect(second.adminToken).toBe(first.adminToken);
    expect(second.ingestToken).toBe(first.ingestToken);
  });

  it('lets nobody but the owner read them, also when the mode was lost', async () => {
    const { path } = await KeptSecrets.open(folder);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await chmod(path, 0o644);
    await KeptSecrets.open(folder);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it.each(['', '{', '[]', '{"adminToken":"short","ingestToken":"short"}'])(
    'refuses a damaged file (%j), leaves it as it is and repeats nothing of it',
    async (text) => {
      const path = join(folder, 'secrets.json');
      await writeFile(path, text);
      const error = await KeptSecrets.open(folder).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(KeptSecretsError);
      expect((error as Error).message).toContain(path);
      expect((error as Error).message).not.toContain('short');
      expect(await readFile(path, 'utf8')).toBe(text);
    },
  );

  it('says which setting is at fault when the folder cannot be one', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    await expect(KeptSecrets.open(join(file, 'data'))).rejects.toThrow(/^DATA_DIR: cannot use /);
  });
});
