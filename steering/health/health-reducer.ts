import type { CdnState } from '#steering/health/cdn-health.ts';
import { RECENT_MAX, type HealthRules } from '#steering/health/health-rules.ts';

/** One judgement of a CDN, made of one or more probes of one round. */
export type HealthInput =
  | { readonly judged: false }
  | {
      readonly judged: true;
      /** 0…1, the worst of the components. */
      readonly score: number;
      /** A player could not have played. */
      readonly hard: boolean;
    };

/** What is remembered of a CDN between samples. Immutable. */
export type HealthState = {
  readonly state: CdnState;
  /** Monotonic ms of the last change of `state`. */
  readonly sinceMs: number;
  /** Last scores, oldest first, at most {@link RECENT_MAX}. */
  readonly recent: readonly number[];
  /** Smoothed score, 0…1. */
  readonly smoothed: number;
  /** `smoothed` in steps with a dead band, so that noise moves no viewer. */
  readonly quality: number;
  readonly badStreak: number;
  /** Failed samples among the bad ones of the streak. */
  readonly hardStreak: number;
  readonly goodStreak: number;
  readonly lastSampleMs: number;
  readonly lastJudgedMs: number;
  /** Ejections not yet forgiven. */
  readonly ejections: number;
  /** Monotonic ms of the last ejection or forgiveness. */
  readonly cleanSinceMs: number;
  readonly ejectedUntilMs: number;
  /** Whether the last ejection came from failures, not from slowness. */
  readonly ejectedHard: boolean;
  readonly rampStep: number;
  readonly rampStepSinceMs: number;
};

/** Newest scores whose median is smoothed: two of five may be anything without moving it. */
const MEDIAN_OF = 5;
/** Weight of the newest median in the smoothed score. */
const SMOOTHING = 0.5;
/** The quality of a CDN that was not ejected is at least this. */
const QUALITY_MIN = 0.05;

/** A CDN of which nothing is known. */
export function initialHealth(nowMs: number): HealthState {
  return {
    state: 'unknown',
    sinceMs: nowMs,
    recent: [],
    smoothed: 1,
    quality: 1,
    badStreak: 0,
    hardStreak: 0,
    goodStreak: 0,
    lastSampleMs: nowMs,
    lastJudgedMs: nowMs,
    ejections: 0,
    cleanSinceMs: nowMs,
    ejectedUntilMs: 0,
    ejectedHard: false,
    rampStep: 0,
    rampStepSinceMs: nowMs,
  };
}

/**
 * The state after one more sample. Pure.
 *
 * @param nowMs monotonic; one that steps back is taken as standing still
 */
export function reduceHealth(
  before: HealthState,
  input: HealthInput,
  nowMs: number,
  rules: HealthRules,
): HealthState {
  const now = Math.max(nowMs, before.lastSampleMs);
  const rested = forgetOldStreaks(before, now, rules);
  // Nothing was learned; and what looked bad may have been the origin's fault from the beginning.
  if (!input.judged) return { ...rested, badStreak: 0, hardStreak: 0, recent: [], lastSampleMs: now };
  const counted = count(rested, input, now, rules);
  return settle(counted, now, rules);
}

/** The state when no sample came: after a long silence nothing is known. Pure. */
export function expireHealth(before: HealthState, nowMs: number, rules: HealthRules): HealthState {
  const silentMs = nowMs - before.lastJudgedMs;
  const limitMs = before.state === 'ejected' ? rules.ejectedUnknownAfterMs : rules.unknownAfterMs;
  if (before.state === 'unknown' || silentMs < limitMs) return before;
  return { ...initialHealth(nowMs), ejections: before.ejections, ejectedHard: before.ejectedHard };
}

/** What the state makes of a CDN's weight, 0…1. */
export function factorOf(state: HealthState, rules: HealthRules): number {
  switch (state.state) {
    case 'ejected':
      return 0;
    case 'ramping':
      return state.quality * (rules.rampSteps[state.rampStep] ?? 1);
    case 'unknown':
      return 1;
    case 'healthy':
    case 'suspect':
      return state.quality;
  }
}

function forgetOldStreaks(state: HealthState, now: number, rules: HealthRules): HealthState {
  if (now - state.lastSampleMs <= rules.streakMaxAgeMs) return state;
  return { ...state, badStreak: 0, hardStreak: 0, goodStreak: 0, recent: [] };
}

function count(
  state: HealthState,
  input: Extract<HealthInput, { judged: true }>,
  now: number,
  rules: HealthRules,
): HealthState {
  const score = input.hard ? 0 : Math.min(1, Math.max(0, input.score));
  const recent = [...state.recent, score].slice(-RECENT_MAX);
  const smoothed = state.smoothed + SMOOTHING * (medianWithPrior(recent) - state.smoothed);
  const bad = input.hard || score < rules.badBelow;
  const good = !bad && score >= rules.goodFrom;
  return {
    ...state,
    recent,
    smoothed,
    quality: steppedQuality(smoothed, state.quality),
    badStreak: bad ? state.badStreak + 1 : good ? 0 : state.badStreak,
    hardStreak: bad ? state.hardStreak + (input.hard ? 1 : 0) : good ? 0 : state.hardStreak,
    goodStreak: good ? state.goodStreak + 1 : bad ? 0 : state.goodStreak,
    lastSampleMs: now,
    lastJudgedMs: now,
  };
}

/** Median of the newest scores; while there are few, as if good ones had gone before. */
function medianWithPrior(recent: readonly number[]): number {
  const newest = recent.slice(-MEDIAN_OF);
  const prior = Array.from({ length: MEDIAN_OF - newest.length }, () => 1);
  const sorted = [...prior, ...newest].sort((a, b) => a - b);
  return sorted[(MEDIAN_OF - 1) / 2] ?? 1;
}

function badOfRecent(state: HealthState, rules: HealthRules): number {
  return state.recent.filter((score) => score < rules.badBelow).length;
}

function steppedQuality(smoothed: number, before: number): number {
  if (smoothed >= 0.95 || (before === 1 && smoothed >= 0.85)) return 1;
  if (Math.abs(smoothed - before) < 0.1) return before;
  return Math.max(QUALITY_MIN, Math.round(smoothed * 20) / 20);
}

/** Moves between the states according to the streaks. */
function settle(state: HealthState, now: number, rules: HealthRules): HealthState {
  switch (state.state) {
    case 'unknown':
      if (isFallen(state, rules.fall, rules.hardFall)) return eject(state, now, rules);
      return state.badStreak === 0 ? enter(state, 'healthy', now) : state;
    case 'healthy': {
      if (isFallen(state, rules.fall, rules.hardFall)) return eject(state, now, rules);
      const forgiven = forgive(state, now, rules);
      return state.badStreak >= 2 || state.quality < 1 ? enter(forgiven, 'suspect', now) : forgiven;
    }
    case 'suspect':
      if (isFallen(state, rules.fall, rules.hardFall) || badOfRecent(state, rules) >= rules.fallOfRecent)
        return eject(state, now, rules);
      return state.goodStreak >= rules.rise && state.quality === 1 ? enter(state, 'healthy', now) : state;
    case 'ejected':
      if (now < state.ejectedUntilMs || state.goodStreak < rules.rise) return state;
      // What was measured before the ejection says nothing about the CDN that came back.
      return {
        ...enter(state, 'ramping', now),
        recent: [],
        smoothed: 1,
        quality: 1,
        rampStep: 0,
        rampStepSinceMs: now,
      };
    case 'ramping':
      return ramp(state, now, rules);
  }
}

function ramp(state: HealthState, now: number, rules: HealthRules): HealthState {
  // On probation one bad sample less is enough.
  if (isFallen(state, Math.max(1, rules.fall - 1), Math.max(1, rules.hardFall - 1)))
    return eject(state, now, rules);
  if (state.badStreak > 0 || now - state.rampStepSinceMs < rules.rampStepMs) return state;
  const rampStep = state.rampStep + 1;
  if (rampStep >= rules.rampSteps.length) return enter(state, 'healthy', now);
  return { ...state, rampStep, rampStepSinceMs: now };
}

function isFallen(state: HealthState, fall: number, hardFall: number): boolean {
  const allHard = state.hardStreak === state.badStreak;
  return state.badStreak >= (allHard ? hardFall : fall);
}

function eject(state: HealthState, now: number, rules: HealthRules): HealthState {
  const ejections = state.ejections + 1;
  const lengthMs = Math.min(rules.ejectionMaxMs, rules.ejectionBaseMs * 2 ** Math.min(30, ejections - 1));
  return {
    ...enter(state, 'ejected', now),
    ejections,
    ejectedUntilMs: now + lengthMs,
    ejectedHard: state.hardStreak > 0 || state.recent.filter((score) => score === 0).length * 2 > RECENT_MAX,
    goodStreak: 0,
  };
}

function forgive(state: HealthState, now: number, rules: HealthRules): HealthState {
  const cleanSinceMs = Math.max(state.cleanSinceMs, state.sinceMs);
  if (state.ejections === 0 || now - cleanSinceMs < rules.ejectionForgetMs) return state;
  return { ...state, ejections: state.ejections - 1, cleanSinceMs: now };
}

function enter(state: HealthState, next: CdnState, now: number): HealthState {
  return state.state === next ? state : { ...state, state: next, sinceMs: now };
}
