import { z } from 'zod';
import { GridError, planGrid } from '#protocol/cmaf/part-grid.ts';
import { LadderSettings, STREAM_ID_PATTERN } from '#protocol/ingest/publish-session.ts';
import { ProblemError } from '#runtime/http/problem.ts';
import type { StreamSettings } from '#origin/registry/stream-record.ts';

const NAME_CHARACTERS_MAX = 120;
const GRACE_MAX_S = 7 * 24 * 60 * 60;
const KEY_LIFETIME_MAX_S = 5 * 366 * 24 * 60 * 60;

/** What a stream is like when nothing else is asked for; its name is then its id. */
export const DEFAULT_STREAM_SETTINGS: Omit<StreamSettings, 'name'> = {
  ladder: {},
  segmentDurationMs: 2_000,
  partDurationMs: 333,
  reconnectWindowS: 60,
  dvrWindowS: 7_200,
  retentionS: 604_800,
  access: 'public',
};

/** Ids whose URLs mean something else: `/steering/v1/snapshot` is the steering snapshot of edges. */
const RESERVED_STREAM_IDS: ReadonlySet<string> = new Set(['snapshot']);

const StreamId = z
  .string()
  .regex(STREAM_ID_PATTERN, 'expected 1 to 64 letters, digits, hyphens and underscores')
  .refine((id) => !RESERVED_STREAM_IDS.has(id), 'is reserved; choose another');

/** What people call something. */
export const Name = z
  .string()
  .min(1)
  .max(NAME_CHARACTERS_MAX)
  .regex(/^\P{Cc}*$/u, 'control characters are not allowed')
  .refine((name) => name.isWellFormed(), 'is not well-formed Unicode');

const Ladder = LadderSettings.superRefine((ladder, context) => {
  if (ladder.rungs?.length === 0 && ladder.copy !== true)
    context.addIssue({
      code: 'custom',
      path: ['rungs'],
      message: 'give at least one rung, or "copy": true, or leave rungs out for the default ladder',
    });
  const heights = new Set<number>();
  for (const [index, { height }] of (ladder.rungs ?? []).entries()) {
    if (heights.has(height))
      context.addIssue({
        code: 'custom',
        path: ['rungs', index, 'height'],
        message: 'is there twice; every rung needs a height of its own',
      });
    heights.add(height);
  }
});

const CHANGED_KEY_MESSAGE = 'expected "rotate" or a key of 16 to 128 letters, digits and . _ ~ -';

/** A key becomes a segment of the broadcaster's URL. */
const ChosenKey = z
  .string()
  .min(16, 'expected at least 16 characters')
  .max(128, 'expected at most 128 characters')
  .regex(/^[A-Za-z0-9._~-]*$/, 'expected letters, digits and . _ ~ - only');

const settings = {
  name: Name,
  ladder: Ladder,
  /** What is asked for; the real length follows the frame rate. */
  segmentDurationMs: z.int().min(1_000).max(6_000),
  partDurationMs: z.int().min(200).max(1_000),
  /** Seconds. */
  reconnectWindow: z.int().min(0).max(1_800),
  /** Seconds, 0 for none; they count from the next playlist on. */
  dvrWindow: z.int().min(0).max(86_400),
  retention: z.int().min(0).max(31_536_000),
  access: z.enum(['public', 'token'], 'expected "public" or "token"'),
};

/** Of a request's fields those that are settings of a stream, as the registry names them. */
export function settingsOf(request: {
  readonly [Name in keyof typeof settings]?: z.output<(typeof settings)[Name]> | undefined;
}): Partial<StreamSettings> {
  const { name, ladder, segmentDurationMs, partDurationMs, reconnectWindow, access, dvrWindow, retention } =
    request;
  return {
    ...(name === undefined ? {} : { name }),
    ...(ladder === undefined ? {} : { ladder }),
    ...(segmentDurationMs === undefined ? {} : { segmentDurationMs }),
    ...(partDurationMs === undefined ? {} : { partDurationMs }),
    ...(reconnectWindow === undefined ? {} : { reconnectWindowS: reconnectWindow }),
    ...(dvrWindow === undefined ? {} : { dvrWindowS: dvrWindow }),
    ...(retention === undefined ? {} : { retentionS: retention }),
    ...(access === undefined ? {} : { access }),
  };
}

export const CreateStream = z.strictObject({ id: StreamId, streamKey: ChosenKey, ...settings }).partial();

/** `streamKey`: `rotate` makes a new key, anything else is the new key. The key so far ends at once. */
export const UpdateStream = z
  .strictObject({ streamKey: z.union([z.literal('rotate'), ChosenKey], CHANGED_KEY_MESSAGE), ...settings })
  .partial()
  .refine((changes) => Object.keys(changes).length > 0, 'there is nothing to change');

export const RotateKey = z
  .strictObject({
    streamKey: ChosenKey,
    /** Seconds that the newest key so far stays valid. */
    grace: z.int().min(0).max(GRACE_MAX_S),
    /** Seconds that the new key is valid; without it until it is replaced. */
    expiresIn: z.int().min(60).max(KEY_LIFETIME_MAX_S),
  })
  .partial();

const TOKEN_LIFETIME_MAX_S = 7 * 24 * 60 * 60;
const TOKEN_LIFETIME_DEFAULT_S = 6 * 60 * 60;

/** A playback token to be made. */
export const MintToken = z.strictObject({
  /** `hmac` can be checked in a few lines anywhere, `cat` is a Common Access Token (CTA-5007). */
  format: z.enum(['hmac', 'cat'], 'expected "hmac" or "cat"').default('hmac'),
  /** Seconds that it is valid. */
  expiresIn: z.int().min(10).max(TOKEN_LIFETIME_MAX_S).default(TOKEN_LIFETIME_DEFAULT_S),
  /** ISO 3166-1 alpha-2; none means everywhere. */
  countries: z
    .array(z.string().regex(/^[A-Z]{2}$/, 'expected two capitals, as DE'))
    .max(64)
    .default([]),
  /** Who watches, in the words of the application. */
  session: z
    .string()
    .regex(/^[A-Za-z0-9_-]{0,64}$/, 'expected up to 64 letters, digits, "_" and "-"')
    .default(''),
});

/** Frame rates of cameras and of OBS: what broadcaster will come is not known, so durations must fit all of them. */
const FRAME_RATES = [
  { numerator: 24_000, denominator: 1_001 },
  { numerator: 24, denominator: 1 },
  { numerator: 25, denominator: 1 },
  { numerator: 30_000, denominator: 1_001 },
  { numerator: 30, denominator: 1 },
  { numerator: 50, denominator: 1 },
  { numerator: 60_000, denominator: 1_001 },
  { numerator: 60, denominator: 1 },
];
const AUDIO_SAMPLE_RATE_HZ = 48_000;

/**
 * Refuses durations from which no valid parts can be cut at some usual frame rate, naming the nearest that do.
 *
 * @throws {ProblemError} 400 `validation_failed`
 */
export function refuseImpossibleGrid(durations: {
  readonly segmentDurationMs: number;
  readonly partDurationMs: number;
}): void {
  const { segmentDurationMs, partDurationMs } = durations;
  try {
    for (const frameRate of FRAME_RATES)
      planGrid({ segmentDurationMs, partDurationMs, frameRate, sampleRateHz: AUDIO_SAMPLE_RATE_HZ });
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    throw new ProblemError(400, 'validation_failed', 'These fields are not acceptable: partDurationMs.', {
      fields: [{ field: 'partDurationMs', message: error.message }],
      cause: error,
    });
  }
}
