const MIB = 1024 * 1024;

/** The limits of recording in one process. */
export type RecordingSettings = {
  /** Bytes that wait for the store in memory; what is more is read from the spool when its turn comes. */
  readonly queueBytesMax: number;
  /** Bytes of finished segments on disk; more are given up, the oldest first. */
  readonly spoolBytesMax: number;
  /** Bytes on their way to the disk; a disk that is slower is done without. */
  readonly spoolWriteBytesMax: number;
  /** How long a segment may wait for the store before it is given up, ms. */
  readonly queueAgeMaxMs: number;
  /** Objects written to the store at once. */
  readonly uploadsMax: number;
  /** Objects read from the store at once, and requests that may wait for them. */
  readonly readsMax: number;
  readonly readersMax: number;
  /** Bytes of objects that were read and are kept for the next one who asks. */
  readonly cacheBytesMax: number;
  /** Index entries of ended recordings in memory. */
  readonly cachedEntriesMax: number;
};

/** Limits that suit one process with 1 GB to spare. */
export const DEFAULT_RECORDING_SETTINGS: RecordingSettings = {
  queueBytesMax: 128 * MIB,
  spoolBytesMax: 20_480 * MIB,
  spoolWriteBytesMax: 64 * MIB,
  queueAgeMaxMs: 6 * 3_600_000,
  uploadsMax: 16,
  readsMax: 32,
  readersMax: 2_000,
  cacheBytesMax: 128 * MIB,
  cachedEntriesMax: 200_000,
};

/** Longest a recording gets; of a longer one the newest is kept. */
export const RECORDING_MS_MAX = 24 * 3_600_000;
