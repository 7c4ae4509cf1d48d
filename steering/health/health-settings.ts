import { z } from 'zod';
import { flag, integer, type SettingsOf, type SettingsSchema } from '#runtime/config/settings.ts';
import { DEFAULT_HEALTH_RULES, type HealthRules } from '#steering/health/health-rules.ts';
import { areAllowedTargets } from '#runtime/outbound/target-guard.ts';

const allowedTargets = z
  .string()
  .max(4_096)
  .transform((value) => value.split(',').map((entry) => entry.trim()))
  .transform((entries) => entries.filter((entry) => entry !== ''))
  .refine(
    (entries) => areAllowedTargets(entries),
    'expected host, host:port, address or network, separated by commas',
  );

const rampSteps = z
  .string()
  .regex(/^\d{1,2}(,\d{1,2}){0,9}$/, 'expected 1 to 10 percentages from 1 to 99, separated by commas')
  .transform((value) => value.split(',').map((percent) => Number(percent) / 100))
  .refine(
    (steps) => steps.every((step, index) => step > (steps[index - 1] ?? 0)),
    'expected percentages that grow',
  );

/** The settings of probes and health; part of the steering server's. */
export const HEALTH_SETTINGS = {
  STEERING_PROBE_ENABLED: {
    parse: flag,
    default: true,
    description: 'Probe the CDNs. Off, a CDN is taken for healthy unless viewers fare badly on it.',
  },
  STEERING_PROBE_INTERVAL_MS: {
    parse: integer(250, 60_000),
    default: 1_000,
    description: 'Time between two rounds of probes of a CDN that sets none of its own, ms.',
  },
  STEERING_PROBE_TIMEOUT_MS: {
    parse: integer(100, 30_000),
    default: 1_250,
    description: 'Longest wait for the first byte of what a CDN can answer at once, ms.',
  },
  STEERING_PROBE_PER_SECOND_MAX: {
    parse: integer(1, 10_000),
    default: 60,
    description: 'Most probes that begin in one second, over all CDNs and streams.',
  },
  STEERING_PROBE_STREAMS_PER_ROUND: {
    parse: integer(1, 16),
    default: 3,
    description: 'Most streams that one round of a CDN looks at.',
  },
  STEERING_PROBE_ALLOWED_TARGETS: {
    parse: allowedTargets,
    default: [],
    description:
      'CDNs that may be inside or without https: host, host:port, address or network, separated by commas.',
  },
  STEERING_HEALTH_FALL: {
    parse: integer(1, 20),
    default: DEFAULT_HEALTH_RULES.fall,
    description: 'Bad rounds in a row after which a CDN falls.',
  },
  STEERING_HEALTH_RISE: {
    parse: integer(1, 20),
    default: DEFAULT_HEALTH_RULES.rise,
    description: 'Good rounds in a row after which it may come back.',
  },
  STEERING_HEALTH_EJECTION_MS: {
    parse: integer(1_000, 3_600_000),
    default: DEFAULT_HEALTH_RULES.ejectionBaseMs,
    description: 'Length of the first ejection, ms; each further one is twice as long.',
  },
  STEERING_HEALTH_EJECTION_MAX_MS: {
    parse: integer(1_000, 86_400_000),
    default: DEFAULT_HEALTH_RULES.ejectionMaxMs,
    description: 'Longest ejection, ms.',
  },
  STEERING_HEALTH_EJECTED_PERCENT_MAX: {
    parse: integer(0, 100),
    default: 67,
    description:
      'Most CDNs ejected at once, percent of the enabled ones; at least one may, the last one never.',
  },
  STEERING_HEALTH_RAMP_PERCENT: {
    parse: rampSteps,
    default: [...DEFAULT_HEALTH_RULES.rampSteps],
    description: 'Shares of its weight that a CDN gets one after the other when it comes back, percent.',
  },
  STEERING_HEALTH_RAMP_STEP_MS: {
    parse: integer(1_000, 3_600_000),
    default: DEFAULT_HEALTH_RULES.rampStepMs,
    description: 'Length of each step of the way back, ms.',
  },
} as const satisfies SettingsSchema;
export type HealthSettings = SettingsOf<typeof HEALTH_SETTINGS>;

/** The rules of one CDN: the settings, what it sets itself, and pauses that fit its interval. */
export function rulesFor(
  settings: HealthSettings,
  own: { readonly intervalMs?: number; readonly fall?: number; readonly rise?: number },
): HealthRules {
  const intervalMs = own.intervalMs ?? settings.STEERING_PROBE_INTERVAL_MS;
  const fall = own.fall ?? settings.STEERING_HEALTH_FALL;
  return {
    ...DEFAULT_HEALTH_RULES,
    fall,
    hardFall: fall + 1,
    rise: own.rise ?? settings.STEERING_HEALTH_RISE,
    ejectionBaseMs: settings.STEERING_HEALTH_EJECTION_MS,
    ejectionMaxMs: Math.max(settings.STEERING_HEALTH_EJECTION_MS, settings.STEERING_HEALTH_EJECTION_MAX_MS),
    rampSteps: settings.STEERING_HEALTH_RAMP_PERCENT,
    rampStepMs: settings.STEERING_HEALTH_RAMP_STEP_MS,
    streakMaxAgeMs: Math.max(DEFAULT_HEALTH_RULES.streakMaxAgeMs, 5 * intervalMs),
    unknownAfterMs: Math.max(DEFAULT_HEALTH_RULES.unknownAfterMs, 10 * intervalMs),
    ejectedUnknownAfterMs: Math.max(DEFAULT_HEALTH_RULES.ejectedUnknownAfterMs, 20 * intervalMs),
  };
}
