import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

// What a reviewer would otherwise have to look for by hand in every change.

const root = join(import.meta.dirname, '../..');
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const sources = files.filter((file) => file.endsWith('.ts'));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** Files that other programs start by name rather than import. */
const ENTRY_POINTS = [
  /(^|\/)main\.ts$/,
  /\.test\.ts$/,
  /\.config\.ts$/,
  /^tests\/support\//,
  /^edge-worker\/worker\.ts$/,
];

describe('the tree', () => {
  it('has no file that nothing imports or names', () => {
    const everything = files
      .filter((file) => /\.(ts|json|html|sh|md|yml|toml)$/.test(file) && file !== 'package-lock.json')
      .map((file) => ({ file, content: read(file) }));
    const orphans = sources.filter((file) => {
      if (file.endsWith('.d.ts') || ENTRY_POINTS.some((pattern) => pattern.test(file))) return false;
      const name = file.slice(file.lastIndexOf('/') + 1);
      return !everything.some((other) => other.file !== file && other.content.includes(name));
    });
    expect(orphans).toEqual([]);
  });

  it('names files in kebab-case and by their subject', () => {
    const bad = sources.filter((file) => {
      const name = file.slice(file.lastIndexOf('/') + 1);
      return !/^[a-z0-9]+(-[a-z0-9]+)*(\.(service|property|fixture|test|worker|config|d))*\.ts$/.test(name);
    });
    const vague = files.filter((file) => /(^|\/)(utils?|helpers?|common|misc)(\/|\.ts$)/.test(file));
    expect([...bad, ...vague]).toEqual([]);
  });

  it('holds no machine path and no registry host', () => {
    const own = 'tests/tidy/tidy.test.ts';
    const leaks = files
      .filter((file) => file !== own && !/\.(png|jpg|ico|lock)$/.test(file))
      .filter((file) =>
        /\/work\/|\/root\/[a-z]|registry\.npmjs|deb\.debian\.org|proxy\.golang/.test(read(file)),
      );
    expect(leaks).toEqual([]);
  });

  it('keeps source files short enough to be one thing', () => {
    const long = sources
      .filter((file) => !file.endsWith('.test.ts'))
      .map((file) => ({ file, lines: read(file).split('\n').length }))
      .filter(({ lines }) => lines > 450);
    expect(long).toEqual([]);
  });
});

describe('the docs', () => {
  it('name only paths that exist', () => {
    const missing: string[] = [];
    for (const file of files.filter((name) => name.endsWith('.md'))) {
      for (const [, path] of read(file).matchAll(
        /`((?:origin|transcoder|steering|edge-worker|protocol|runtime|bench|tests|docs|all-in-one|monitoring)\/[\w./-]*)`/g,
      )) {
        if (path !== undefined && !existsSync(join(root, path))) missing.push(`${file}: ${path}`);
      }
    }
    expect(missing).toEqual([]);
  });
});
