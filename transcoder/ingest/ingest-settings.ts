import {
  integer,
  port,
  SettingsError,
  text,
  type Setting,
  type SettingsProblem,
  type SettingsSchema,
} from '#runtime/config/settings.ts';

type LimitSetting = Setting<number> & { readonly env: string; readonly default: number };

const KIB = 1024;
const MIB = 1024 * KIB;

const limit = (env: string, fallback: number, max: number, description: string): LimitSetting => ({
  env,
  parse: integer(1, max),
  default: fallback,
  description,
});
const wait = (env: string, fallbackMs: number, description: string): LimitSetting => ({
  env,
  parse: integer(10, 600_000),
  default: fallbackMs,
  description: `${description} (ms)`,
});

/** Every limit and deadline of the ingest: the name in code, the name in the environment, the value without one. */
const LIMIT_SETTINGS = {
  connectionsMax: limit('RTMP_CONNECTIONS_MAX', 1_000, 100_000, 'RTMP connections in all'),
  connectionsPerAddressMax: limit(
    'RTMP_CONNECTIONS_PER_ADDRESS_MAX',
    64,
    100_000,
    'RTMP connections of one address (IPv6: of one /64)',
  ),
  connectionRateMax: limit(
    'RTMP_CONNECTION_RATE_MAX',
    200,
    100_000,
    'New RTMP connections per second in all, with a burst of as many',
  ),
  connectionRatePerAddressMax: limit(
    'RTMP_CONNECTION_RATE_PER_ADDRESS_MAX',
    32,
    100_000,
    'New RTMP connections per second of one address, with a burst of as many',
  ),

  handshakeTimeoutMs: wait('RTMP_HANDSHAKE_TIMEOUT_MS', 5_000, 'Longest RTMP handshake'),
  publishTimeoutMs: wait('RTMP_PUBLISH_TIMEOUT_MS', 10_000, 'Longest time from the handshake to a publish'),
  authoriseTimeoutMs: wait(
    'RTMP_AUTHORISE_TIMEOUT_MS',
    5_000,
    'Longest wait for the origin to judge a stream key',
  ),
  firstMediaTimeoutMs: wait(
    'RTMP_FIRST_MEDIA_TIMEOUT_MS',
    10_000,
    'Longest time from an accepted publish to its first frame',
  ),
  lostAfterMs: wait('RTMP_LOST_AFTER_MS', 3_000, 'Silence after which a publish is lost and its key is free'),
  silenceTimeoutMs: wait(
    'RTMP_SILENCE_TIMEOUT_MS',
    10_000,
    "Silence after which a publisher's connection is destroyed",
  ),

  commandsBeforePublishMax: limit(
    'RTMP_COMMANDS_BEFORE_PUBLISH_MAX',
    64,
    10_000,
    'Commands of one connection before it publishes',
  ),
  mediaMessageBytesMax: limit(
    'RTMP_MEDIA_MESSAGE_BYTES_MAX',
    4 * MIB,
    16 * MIB,
    'Longest audio or video message (bytes)',
  ),
  commandMessageBytesMax: limit(
    'RTMP_COMMAND_MESSAGE_BYTES_MAX',
    64 * KIB,
    MIB,
    'Longest message that is neither audio nor video (bytes)',
  ),
  chunkSizeMin: limit('RTMP_CHUNK_SIZE_MIN', 128, 64 * KIB, 'Smallest chunk size a peer may set (bytes)'),
  chunkSizeMax: limit('RTMP_CHUNK_SIZE_MAX', MIB, 16 * MIB, 'Largest chunk size a peer may set (bytes)'),
  chunkStreamsMax: limit('RTMP_CHUNK_STREAMS_MAX', 16, 1_024, 'Chunk streams of one connection'),
  pendingBytesMax: limit(
    'RTMP_PENDING_BYTES_MAX',
    9 * MIB,
    256 * MIB,
    'Memory for the unfinished messages of one connection (bytes)',
  ),
  pendingBytesBeforePublishMax: limit(
    'RTMP_PENDING_BYTES_BEFORE_PUBLISH_MAX',
    256 * KIB,
    16 * MIB,
    'The same before a publish is asked for (bytes)',
  ),
  outputBytesMax: limit(
    'RTMP_OUTPUT_BYTES_MAX',
    64 * KIB,
    16 * MIB,
    'Answers that a peer may leave unread (bytes)',
  ),
  streamNameLengthMax: limit('RTMP_STREAM_NAME_LENGTH_MAX', 256, 256, 'Longest stream key (characters)'),
  amfDepthMax: limit('RTMP_AMF_DEPTH_MAX', 8, 64, 'Deepest nesting of an AMF value'),
  amfKeysMax: limit('RTMP_AMF_KEYS_MAX', 256, 4_096, 'Values in one AMF message'),
  amfStringBytesMax: limit('RTMP_AMF_STRING_BYTES_MAX', 4 * KIB, 64 * KIB, 'Longest AMF string (bytes)'),

  heartbeatTimeoutMs: wait(
    'INGEST_HEARTBEAT_TIMEOUT_MS',
    1_000,
    'Longest wait for the answer to a heartbeat',
  ),
  endReportTimeoutMs: wait(
    'INGEST_END_REPORT_TIMEOUT_MS',
    2_000,
    'Longest wait for the answer to the report of an end',
  ),
  timestampJumpMs: wait(
    'INGEST_TIMESTAMP_JUMP_MS',
    1_000,
    'Step forward of the timestamps that begins a new timeline',
  ),
  timestampBackwardMs: wait(
    'INGEST_TIMESTAMP_BACKWARD_MS',
    250,
    'Step back of the timestamps that is evened out instead of beginning a new timeline',
  ),
  timelineBreaksPerMinuteMax: limit(
    'INGEST_TIMELINE_BREAKS_PER_MINUTE_MAX',
    12,
    600,
    'New timelines within a minute before the publisher is refused',
  ),
  videoWaitMs: wait(
    'INGEST_VIDEO_WAIT_MS',
    3_000,
    'Longest wait for announced video before audio goes on alone',
  ),
  keyframeWaitMs: wait(
    'INGEST_KEYFRAME_WAIT_MS',
    30_000,
    'Longest wait for a key frame while video arrives, before the publisher is refused',
  ),
  backlogBytesMax: limit(
    'INGEST_BACKLOG_BYTES_MAX',
    32 * MIB,
    512 * MIB,
    'Packets kept of one publish (bytes)',
  ),
  backlogDurationMaxMs: wait('INGEST_BACKLOG_DURATION_MAX_MS', 12_000, 'Packets kept of one publish'),
  readersMax: limit('INGEST_READERS_MAX', 8, 1_000, 'Readers of one publish at once'),
} as const satisfies Record<string, LimitSetting>;

/** Every limit and deadline of the ingest. Names end in their unit; the README's table says what each is for. */
export type IngestLimits = { readonly [Name in keyof typeof LIMIT_SETTINGS]: number };

/** What the ingest needs to run. */
export type IngestSettings = {
  /** 0 takes any free port. */
  readonly rtmpPort: number;
  readonly rtmpHost: string;
  /** `http://host:port` of origins that know the publish sessions; one that does not answer is passed over. */
  readonly originUrls: readonly string[];
  /** Bearer token of the `/ingest/v1` calls. */
  readonly ingestToken: string;
  readonly limits: IngestLimits;
};

/** The limits when the environment says nothing. */
export const DEFAULT_INGEST_LIMITS: IngestLimits = mapLimits((setting) => setting.default);

/** The environment settings of the ingest, to be spread into the transcoder's schema. */
export const INGEST_SETTINGS_SCHEMA: SettingsSchema = {
  RTMP_PORT: {
    parse: port,
    default: 1935,
    description: 'Port that broadcasters connect to; 0 takes any free one',
  },
  RTMP_HOST: {
    parse: text(1, 255),
    default: '0.0.0.0',
    description: 'Address that the RTMP port listens on',
  },
  ...Object.fromEntries(Object.values(LIMIT_SETTINGS).map((setting) => [setting.env, setting])),
};

/** Pairs of limits of which the first may not be larger than the second. */
const ORDERED: readonly (readonly [smaller: keyof IngestLimits, larger: keyof IngestLimits])[] = [
  ['chunkSizeMin', 'chunkSizeMax'],
  ['lostAfterMs', 'silenceTimeoutMs'],
  ['videoWaitMs', 'keyframeWaitMs'],
  ['connectionsPerAddressMax', 'connectionsMax'],
  ['connectionRatePerAddressMax', 'connectionRateMax'],
  ['commandMessageBytesMax', 'pendingBytesBeforePublishMax'],
  ['pendingBytesBeforePublishMax', 'pendingBytesMax'],
  ['mediaMessageBytesMax', 'pendingBytesMax'],
  ['mediaMessageBytesMax', 'backlogBytesMax'],
  ['amfStringBytesMax', 'commandMessageBytesMax'],
];

/**
 * The limits as `readSettings` found them in the environment by {@link INGEST_SETTINGS_SCHEMA}.
 *
 * @throws {SettingsError} naming every pair of limits that contradict each other
 */
export function toIngestLimits(values: Readonly<Record<string, unknown>>): IngestLimits {
  const limits = mapLimits((setting) => {
    const value = values[setting.env];
    return typeof value === 'number' ? value : setting.default;
  });
  const problems = ORDERED.flatMap(([smaller, larger]): SettingsProblem[] => {
    if (limits[smaller] <= limits[larger]) return [];
    const bound = `${LIMIT_SETTINGS[larger].env} (${limits[larger]})`;
    return [{ name: LIMIT_SETTINGS[smaller].env, message: `${limits[smaller]} is more than ${bound}` }];
  });
  if (problems.length > 0) throw new SettingsError(problems);
  return limits;
}

function mapLimits(valueOf: (setting: LimitSetting) => number): IngestLimits {
  const entries = Object.entries(LIMIT_SETTINGS).map(([name, setting]) => [name, valueOf(setting)]);
  return Object.fromEntries(entries) as IngestLimits;
}
