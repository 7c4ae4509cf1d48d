import { describe, expect, it } from 'vitest';
import { TRANSCODE_ERROR_CODES } from '#transcoder/transcode-error.ts';
import { RestartPolicy } from '#transcoder/worker/restart-policy.ts';

describe('RestartPolicy', () => {
  it.each([
    'session_over',
    'origin_refused',
    'source_unsupported',
    'grid_impossible',
    'encoder_unusable',
  ] as const)('ends the session at %s', (code) => {
    expect(new RestartPolicy(12).decide(code, 0)).toBe('end');
  });

  it('begins anew after a growing pause', () => {
    const policy = new RestartPolicy(12);
    const pauses = [0, 1, 2, 3].map((at) => policy.decide('encoder_exited', at * 1000));
    expect(pauses).toEqual([{ pauseMs: 100 }, { pauseMs: 200 }, { pauseMs: 400 }, { pauseMs: 800 }]);
    expect(policy.decide('encoder_exited', 200_000)).toEqual({ pauseMs: 100 });
  });

  it('begins anew at once when the next timeline will be another one, but not for ever', () => {
    const policy = new RestartPolicy(12);
    const decisions = [0, 1, 2, 3].map((at) => policy.decide('track_joined', at));
    expect(decisions).toEqual([{ pauseMs: 0 }, { pauseMs: 0 }, { pauseMs: 0 }, { pauseMs: 800 }]);
  });

  it('gives up when too many timelines fail within a minute', () => {
    const policy = new RestartPolicy(3);
    expect([0, 1, 2, 3].map((at) => policy.decide('encoder_stalled', at * 1000)).at(-1)).toBe('end');
    const patient = new RestartPolicy(3);
    expect([0, 30_000, 61_000, 92_000].map((at) => patient.decide('encoder_stalled', at))).not.toContain(
      'end',
    );
  });

  it('waits for an origin that is away as long as the broadcaster stays', () => {
    const policy = new RestartPolicy(3);
    const decisions = Array.from({ length: 50 }, (_, at) => policy.decide('origin_unreachable', at * 1000));
    expect(decisions).not.toContain('end');
    expect(decisions.at(-1)).toEqual({ pauseMs: 5_000 });
  });

  it('saves effort when the machine cannot keep up', () => {
    const policy = new RestartPolicy(100);
    expect(policy.economy).toBe(0);
    policy.decide('encoder_slow', 0);
    policy.decide('encoder_exited', 1);
    policy.decide('encoder_backlog', 2);
    expect(policy.economy).toBe(2);
  });

  it('does not copy again what did not fit', () => {
    const policy = new RestartPolicy(12);
    expect(policy.copyAllowed).toBe(true);
    expect(policy.decide('copy_off_grid', 0)).toEqual({ pauseMs: 0 });
    expect(policy.copyAllowed).toBe(false);
  });

  it('has an answer to every code', () => {
    for (const code of Object.values(TRANSCODE_ERROR_CODES))
      expect(new RestartPolicy(12).decide(code, 0)).toBeDefined();
  });
});
