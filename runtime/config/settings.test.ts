import { describe, expect, it } from 'vitest';
import { SettingsError, choice, flag, integer, port, readSettings, text } from '#runtime/config/settings.ts';

const schema = {
  ORIGIN_PORT: { parse: port, default: 8080, description: 'port' },
  ORIGIN_WORKERS: { parse: integer(1, 64), default: 1, description: 'workers' },
  ADMIN_TOKEN: { parse: text(16, 256), description: 'token', secret: true },
  LOG_LEVEL: { parse: choice(['info', 'debug']), default: 'info', description: 'level' },
  EDGE_ON: { parse: flag, default: true, description: 'edge' },
} as const;

const token = 'a-token-long-enough';

function problemsOf(env: Record<string, string>): readonly { name: string; message: string }[] {
  try {
    readSettings(schema, env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('readSettings', () => {
  it('takes values and defaults', () => {
    expect(readSettings(schema, { ADMIN_TOKEN: token, ORIGIN_PORT: '0', EDGE_ON: 'no' })).toEqual({
      ORIGIN_PORT: 0,
      ORIGIN_WORKERS: 1,
      ADMIN_TOKEN: token,
      LOG_LEVEL: 'info',
      EDGE_ON: false,
    });
  });

  it('lists every problem at once', () => {
    const names = problemsOf({ ORIGIN_PORT: '80abc', ORIGIN_WORKERS: '0', LOG_LEVEL: 'loud' }).map(
      (p) => p.name,
    );
    expect(names).toEqual(['ORIGIN_PORT', 'ORIGIN_WORKERS', 'ADMIN_TOKEN', 'LOG_LEVEL']);
  });

  it('refuses an unknown name of ours and proposes the near one', () => {
    expect(problemsOf({ ADMIN_TOKEN: token, ORIGIN_PROT: '1' })).toEqual([
      { name: 'ORIGIN_PROT', message: 'is not a setting of this service; did you mean ORIGIN_PORT?' },
    ]);
  });

  it('leaves foreign names alone', () => {
    expect(problemsOf({ ADMIN_TOKEN: token, PATH: '/bin', HOME: '/' })).toEqual([]);
  });

  it('never repeats a secret', () => {
    expect(JSON.stringify(problemsOf({ ADMIN_TOKEN: 'short-secret' }))).not.toContain('short-secret');
  });
});
