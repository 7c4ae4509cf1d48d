import { z } from 'zod';
import { LadderRung, X264_PRESETS } from '#protocol/ingest/publish-session.ts';
import {
  bearerToken,
  choice,
  integer,
  port,
  readSettings,
  text,
  type Setting,
  type SettingsOf,
  type SettingsSchema,
} from '#runtime/config/settings.ts';
import { LOG_LEVELS } from '#runtime/log.ts';
import {
  INGEST_SETTINGS_SCHEMA,
  toIngestLimits,
  type IngestLimits,
} from '#transcoder/ingest/ingest-settings.ts';
import type { SessionSettings } from '#transcoder/worker/transcode-session.ts';

const MIB = 1024 * 1024;

const originUrls = z
  .string()
  .transform((value) => value.split(',').flatMap((url) => url.trim().replace(/\/$/, '') || []))
  .refine(
    (urls) => urls.length > 0 && urls.every((url) => /^https?:\/\/[^/?#\s]+$/.test(url)),
    'expected http://host:port, several of them separated by commas',
  );

/** `1080:5000k, 720:2800k`: height of the shorter side, bits per second. */
const rungs = z.string().transform((value, context): readonly LadderRung[] => {
  const parsed = value.split(',').map((rung) => {
    const match = /^\s*(\d{1,5})\s*:\s*(\d{1,8})(k?)\s*$/.exec(rung);
    return LadderRung.safeParse({
      height: Number(match?.[1]),
      bitrateBps: Number(match?.[2]) * (match?.[3] === 'k' ? 1000 : 1),
    });
  });
  if (parsed.length <= 8 && parsed.every((rung) => rung.success)) return parsed.map((rung) => rung.data);
  context.addIssue('expected at most 8 rungs like 720:2800k, separated by commas');
  return z.NEVER;
});

const milliseconds = (fallback: number, description: string): Setting<number> & { default: number } => ({
  parse: integer(10, 600_000),
  default: fallback,
  description: `${description} (ms).`,
});
const mebibytes = (fallback: number, description: string): Setting<number> & { default: number } => ({
  parse: integer(1, 4_096),
  default: fallback,
  description: `${description} (MiB).`,
});

/** Everything that can be set about a transcoder beside its ingest, by environment variable. */
export const TRANSCODER_SETTINGS = {
  INGEST_TOKEN: {
    parse: bearerToken(8, 256),
    description: 'Bearer token with which transcoders authorise publishers and upload parts.',
    secret: true,
  },
  ORIGIN_URLS: {
    parse: originUrls,
    default: ['http://127.0.0.1:8080'] as readonly string[],
    description:
      'Origins, separated by commas: any of them judges stream keys and says which of them get the parts; one that does not answer is passed over.',
  },
  TRANSCODER_PORT: {
    parse: port,
    default: 8070,
    description: 'Port of /healthz, /readyz and /metrics of the transcoder; 0 takes any free one.',
  },
  TRANSCODER_HOST: { parse: text(1, 255), default: '0.0.0.0', description: 'Address of that port.' },
  TRANSCODER_SESSIONS_MAX: {
    parse: integer(1, 1_000),
    default: 8,
    description: 'Broadcasts transcoded at once, each by one ffmpeg; one more is refused.',
  },
  TRANSCODER_LADDER: {
    parse: rungs,
    default: [
      { height: 1080, bitrateBps: 5_000_000 },
      { height: 720, bitrateBps: 2_800_000 },
      { height: 480, bitrateBps: 1_200_000 },
      { height: 360, bitrateBps: 700_000 },
    ] as readonly LadderRung[],
    description:
      'Rungs of streams that name none, as 1080:5000k,720:2800k: shorter side and bit rate. Those larger than the source are left out.',
  },
  TRANSCODER_PRESET: {
    parse: choice(X264_PRESETS),
    default: 'superfast' as const,
    description: 'x264 preset of streams that name none.',
  },
  TRANSCODER_PRESET_LARGE: {
    parse: choice(X264_PRESETS),
    default: 'ultrafast' as const,
    description: 'The same for ladders of more pixels per second than TRANSCODER_LARGE_PIXEL_RATE.',
  },
  TRANSCODER_LARGE_PIXEL_RATE: {
    parse: integer(1_000_000, 10_000_000_000),
    default: 75_000_000,
    description:
      'Pixels per second of all rungs together from which a ladder is large (1080p30 is 62 million).',
  },
  TRANSCODER_AUDIO_BITRATE_BPS: {
    parse: integer(16_000, 512_000),
    default: 128_000,
    description: 'Bit rate of stereo audio; mono gets half.',
  },
  TRANSCODER_NICENESS: {
    parse: integer(0, 19),
    default: 0,
    description: 'How far ffmpeg stands back for other processes; 0 not at all.',
  },
  TRANSCODER_ENCODER_BACKLOG_MIB: mebibytes(16, 'Input that may wait for one ffmpeg'),
  TRANSCODER_ENCODER_START_TIMEOUT_MS: milliseconds(
    10_000,
    'Longest start of an ffmpeg, to its first frames',
  ),
  TRANSCODER_ENCODER_STOP_TIMEOUT_MS: milliseconds(2_000, 'Longest end of an ffmpeg; then it is killed'),
  TRANSCODER_STALL_TIMEOUT_MS: milliseconds(3_000, 'Silence of an encoder after which it is replaced'),
  TRANSCODER_VANISH_TIMEOUT_MS: milliseconds(3_000, 'Absence of audio or video after which it is left out'),
  TRANSCODER_LAG_MAX_MS: milliseconds(2_000, 'How far the output may be behind the input for long'),
  TRANSCODER_SLOW_TIMEOUT_MS: milliseconds(6_000, 'How long it may be further behind before effort is saved'),
  TRANSCODER_FAILURES_PER_MINUTE_MAX: {
    parse: integer(1, 1_000),
    default: 12,
    description: 'Timelines of one broadcast that may fail in a minute before it is given up.',
  },
  TRANSCODER_PENDING_MIB: mebibytes(16, 'Packets of one broadcast kept while no timeline can begin'),
  TRANSCODER_UPLOAD_QUEUE_MIB: mebibytes(32, 'Parts of one broadcast that may wait for one origin'),
  TRANSCODER_UPLOAD_AGE_MAX_MS: milliseconds(
    5_000,
    'Age at which a part that could not be stored is given up',
  ),
  TRANSCODER_UPLOAD_ITEMS_MAX: {
    parse: integer(4, 10_000),
    default: 120,
    description: 'Parts of one rendition that may wait for one origin, gap markers included.',
  },
  TRANSCODER_UPLOAD_ATTEMPT_TIMEOUT_MS: milliseconds(2_000, 'Longest single upload before it is tried again'),
  TRANSCODER_TIMELINE_DEADLINE_MS: milliseconds(5_000, 'Longest wait for the numbers of a new timeline'),
  TRANSCODER_DRAIN_DEADLINE_MS: milliseconds(2_000, 'Longest wait for the last parts of a timeline'),
  LOG_LEVEL: {
    parse: choice(LOG_LEVELS),
    default: 'info' as const,
    description: 'Least level that is logged.',
  },
} as const satisfies SettingsSchema;

/** The whole schema, for the README's table: the transcoder's own settings and those of its ingest. */
export const TRANSCODER_SETTINGS_SCHEMA: SettingsSchema = {
  ...INGEST_SETTINGS_SCHEMA,
  ...TRANSCODER_SETTINGS,
};

/** The settings of a transcoder, checked. */
export type TranscoderSettings = SettingsOf<typeof TRANSCODER_SETTINGS> & {
  readonly RTMP_PORT: number;
  readonly RTMP_HOST: string;
  readonly ingestLimits: IngestLimits;
};

/**
 * Reads a transcoder's settings from the environment.
 *
 * @param known names of sibling services that may stand in the same environment
 * @throws {SettingsError} with everything that is wrong
 */
export function readTranscoderSettings(
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[] = [],
): TranscoderSettings {
  const values = readSettings(TRANSCODER_SETTINGS_SCHEMA, env, known);
  return { ...values, ingestLimits: toIngestLimits(values) } as unknown as TranscoderSettings;
}

/** What a transcode session is told. */
export function toSessionSettings(settings: TranscoderSettings): SessionSettings {
  return {
    ladder: {
      rungs: settings.TRANSCODER_LADDER,
      preset: settings.TRANSCODER_PRESET,
      presetLarge: settings.TRANSCODER_PRESET_LARGE,
      largePixelRate: settings.TRANSCODER_LARGE_PIXEL_RATE,
      audioBitrateBps: settings.TRANSCODER_AUDIO_BITRATE_BPS,
    },
    limits: {
      encoder: {
        backlogBytesMax: settings.TRANSCODER_ENCODER_BACKLOG_MIB * MIB,
        stopTimeoutMs: settings.TRANSCODER_ENCODER_STOP_TIMEOUT_MS,
        niceness: settings.TRANSCODER_NICENESS,
      },
      watch: {
        startTimeoutMs: settings.TRANSCODER_ENCODER_START_TIMEOUT_MS,
        stallTimeoutMs: settings.TRANSCODER_STALL_TIMEOUT_MS,
        vanishTimeoutMs: settings.TRANSCODER_VANISH_TIMEOUT_MS,
        lagMaxMs: settings.TRANSCODER_LAG_MAX_MS,
        slowTimeoutMs: settings.TRANSCODER_SLOW_TIMEOUT_MS,
      },
      pendingPartsMax: 256,
      drainDeadlineMs: settings.TRANSCODER_DRAIN_DEADLINE_MS,
      pendingBytesMax: settings.TRANSCODER_PENDING_MIB * MIB,
      failuresPerMinuteMax: settings.TRANSCODER_FAILURES_PER_MINUTE_MAX,
    },
    publisher: {
      originUrls: settings.ORIGIN_URLS,
      ingestToken: settings.INGEST_TOKEN,
      timelineDeadlineMs: settings.TRANSCODER_TIMELINE_DEADLINE_MS,
      upload: {
        bytesMax: settings.TRANSCODER_UPLOAD_QUEUE_MIB * MIB,
        ageMaxMs: settings.TRANSCODER_UPLOAD_AGE_MAX_MS,
        itemsPerRenditionMax: settings.TRANSCODER_UPLOAD_ITEMS_MAX,
        attemptTimeoutMs: settings.TRANSCODER_UPLOAD_ATTEMPT_TIMEOUT_MS,
      },
    },
  };
}
