import { PlaylistReadError, readMediaPlaylist } from '#protocol/hls/read-media-playlist.ts';
import { PART_BYTES_MAX } from '#protocol/ingest/part-upload.ts';
import type { Clock } from '#runtime/clock.ts';
import { abortAfter } from '#steering/probe/deadline.ts';
import {
  firstPartAfter,
  holdLimitMs,
  PLAYLIST_BYTES_MAX,
  reloadPath,
  type ReferenceRound,
} from '#steering/probe/origin-reference.ts';
import { ProbeConnection, type ProbeAnswer } from '#steering/probe/probe-connection.ts';
import { ProbeFailure, ProbeUnjudged, toProbeFailure } from '#steering/probe/probe-failure.ts';
import { ProbeRecord } from '#steering/probe/probe-record.ts';
import type { ProbeSample } from '#steering/probe/probe-sample.ts';
import {
  ageScore,
  answersReload,
  edgeOf,
  freshnessScore,
  frozenAfterS,
  SCALES,
  scoreOn,
  secondsBehind,
} from '#steering/probe/probe-scores.ts';
import { readVariants } from '#steering/probe/read-multivariant.ts';
import { TargetRefusedError, type ResolveName, type TargetGuard } from '#runtime/outbound/target-guard.ts';

/** A CDN as a probe sees it. */
export type ProbeTarget = {
  readonly cdn: string;
  /** What comes before `/live/{streamId}/…`, or before the playback token. */
  readonly baseUrl: string;
  /** Longest wait for the first byte of what a cache can answer at once; {@link FIRST_BYTE_DEADLINE_MS} by default. */
  readonly firstByteDeadlineMs?: number;
};

export type CdnProbeDeps = {
  readonly clock: Clock;
  readonly guard: TargetGuard;
  readonly resolve: ResolveName;
  /** Certificates to trust instead of the system's, PEM. */
  readonly ca?: string;
};

/** Longest a whole probe may take, whatever its steps allow. */
export const PROBE_DEADLINE_MS = 8_000;
/** Longest wait for the first byte of what a cache can answer at once. */
export const FIRST_BYTE_DEADLINE_MS = 1_250;
const PLAYLIST_BODY_DEADLINE_MS = 1_000;
/** How much later than the origin a held answer may come before the CDN counts as hanging. */
const LATE_MAX_MS = SCALES.lateMs.bad;

/**
 * Watches one stream through one CDN as a low-latency player would: multivariant playlist, plain playlist, blocking reload
 * for the next part, that part. Everything over one new connection to one checked address.
 *
 * Ends within {@link PROBE_DEADLINE_MS}. What a CDN does is in the sample; whatever is thrown is a mistake of ours.
 *
 * @param turn counts the probes of this CDN, so that each of its addresses gets its turn
 */
export async function probeCdn(
  target: ProbeTarget,
  reference: ReferenceRound,
  turn: number,
  deps: CdnProbeDeps,
  signal: AbortSignal,
): Promise<ProbeSample> {
  const record = new ProbeRecord(target.cdn, reference.streamId, deps.clock);
  const whole = abortAfter(deps.clock, signal, PROBE_DEADLINE_MS, () => new ProbeFailure('no_answer'));
  let connection: ProbeConnection | undefined;
  try {
    const master = masterUrl(target, reference.masterPath, deps.guard);
    const pinned = await record.time('dns', deps.guard.pin(master, deps.resolve, whole.signal, turn));
    connection = new ProbeConnection(master, pinned, {
      clock: deps.clock,
      signal: whole.signal,
      ...(deps.ca === undefined ? {} : { ca: deps.ca }),
    });
    const { tcpMs, tlsMs } = await connection.open();
    record.connected(tcpMs, tlsMs);
    const watching = { connection, reference, record, clock: deps.clock, signal: whole.signal };
    await watch(master, { ...watching, patienceMs: target.firstByteDeadlineMs ?? FIRST_BYTE_DEADLINE_MS });
    return record.measured();
  } catch (error) {
    if (signal.aborted) return record.unjudged('aborted');
    if (error instanceof ProbeUnjudged) return record.unjudged(error.code);
    // A CDN is not to blame for what its origin does not have.
    if ((await reference.reached) === undefined) return record.unjudged('reference_stale');
    if (error instanceof PlaylistReadError)
      return record.failed(new ProbeFailure('playlist_invalid', { cause: error }));
    if (error instanceof ProbeFailure || error instanceof TargetRefusedError)
      return record.failed(toProbeFailure(error, 'dns'));
    throw error;
  } finally {
    whole.clear();
    await connection?.close();
  }
}

/**
 * @throws {ProbeUnjudged} when the URL itself is one that we must not ask: that is a matter of settings, and viewers may
 *   well reach it. A name that leads inside is another thing: whoever resolves it gets nowhere.
 */
function masterUrl(target: ProbeTarget, masterPath: string, guard: TargetGuard): URL {
  const base = target.baseUrl.endsWith('/') ? target.baseUrl : `${target.baseUrl}/`;
  try {
    return new URL(masterPath, guard.checkUrl(base));
  } catch (error) {
    if (error instanceof TargetRefusedError) throw new ProbeUnjudged('target_refused');
    throw error;
  }
}

/** One probe under way. */
type Watching = {
  readonly connection: ProbeConnection;
  readonly reference: ReferenceRound;
  readonly record: ProbeRecord;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Longest wait for a first byte that need not be waited for. */
  readonly patienceMs: number;
};

async function watch(master: URL, watching: Watching): Promise<void> {
  const { reference, record } = watching;
  const multivariant = await playlistText(watching, master.pathname);
  record.stage('multivariant', multivariant.firstByteMs);
  record.score('ttfb', scoreOn(multivariant.firstByteMs, SCALES.firstByteMs), 'slow_ttfb');
  const url = renditionUrl(multivariant.text, master, reference.renditionPath);

  const plain = await playlistText(watching, url.pathname + url.search);
  record.stage('playlist', plain.firstByteMs);
  record.score('ttfb', scoreOn(plain.firstByteMs, SCALES.firstByteMs), 'slow_ttfb');
  const playlist = readMediaPlaylist(plain.text);
  const behindS = secondsBehind(reference.playlist, edgeOf(playlist));
  record.score('freshness', freshnessScore(reference.playlist, behindS), 'late_playlist');
  record.score(
    'age',
    ageScore(plain.header('age'), behindS, reference.playlist.targetDurationS),
    'age_wrong',
  );
  const stale = behindS >= frozenAfterS(reference.playlist);

  const reload = await blockingReload(url, watching);
  const reloaded = readMediaPlaylist(reload.answer.text);
  if (!answersReload(reloaded, reference.next) || (reloaded.ended && stale))
    throw new ProbeFailure(stale ? 'playlist_frozen' : 'reload_without_part');
  record.stage('hold', reload.answer.firstByteMs);
  record.score('hold', scoreOn(reload.lateMs, SCALES.lateMs), 'late_part');

  const listed = firstPartAfter(reloaded, edgeOf(reference.playlist));
  if (listed === undefined) throw new ProbeFailure(reloaded.ended ? 'playlist_frozen' : 'part_missing');
  if (listed.gap) return;
  const partUrl = new URL(listed.uri, url);
  if (partUrl.origin !== url.origin) throw new ProbeFailure('part_missing');
  await fetchPart(partUrl, watching);
}

/** Where the CDN has the rendition; its multivariant playlist must list it there or, when it is steered, somewhere. */
function renditionUrl(text: string, master: URL, renditionPath: string): URL {
  const url = new URL(renditionPath, new URL('.', master));
  const wanted = url.pathname.slice(url.pathname.lastIndexOf('/live/'));
  const listed = readVariants(text).some(
    ({ uri }) => URL.canParse(uri, master.href) && new URL(uri, master).pathname.endsWith(wanted),
  );
  if (!listed) throw new ProbeFailure('rendition_missing');
  return url;
}

function playlistText({ connection, patienceMs }: Watching, path: string): Promise<ProbeAnswer> {
  return connection.get({
    path,
    firstByteDeadlineMs: patienceMs,
    bodyDeadlineMs: PLAYLIST_BODY_DEADLINE_MS,
    bodyBytesMax: PLAYLIST_BYTES_MAX,
    as: 'text',
  });
}

/**
 * Asks for the part that the origin did not have yet. The CDN has as long as the origin takes and {@link LATE_MAX_MS}.
 */
async function blockingReload(
  url: URL,
  { connection, reference, clock, signal }: Watching,
): Promise<{ answer: ProbeAnswer; lateMs: number }> {
  const askedAtMs = clock.monotonicMs();
  const limit = new AbortController();
  const timers = [
    clock.after(holdLimitMs(reference.playlist) + LATE_MAX_MS, () =>
      limit.abort(new ProbeFailure('hold_timeout')),
    ),
  ];
  let answered = false;
  void reference.reached.then((reached) => {
    if (answered || signal.aborted) return;
    if (reached === undefined) limit.abort(new ProbeUnjudged('reference_stale'));
    else timers.push(clock.after(LATE_MAX_MS, () => limit.abort(new ProbeFailure('hold_timeout'))));
  });
  try {
    const answer = await connection.get({
      path: reloadPath(url, reference.next),
      firstByteDeadlineMs: 0,
      firstByte: limit.signal,
      bodyDeadlineMs: PLAYLIST_BODY_DEADLINE_MS,
      bodyBytesMax: PLAYLIST_BYTES_MAX,
      as: 'text',
    });
    // An answer that came before the origin's own cannot be late; it will be checked for what it holds.
    const reached = await Promise.race([reference.reached, Promise.resolve('not yet' as const)]);
    const sinceMs = reached === 'not yet' || reached === undefined ? undefined : reached.atMs;
    const doneAtMs = answer.firstByteAtMs + answer.bodyMs;
    const lateMs = sinceMs === undefined ? 0 : doneAtMs - Math.max(sinceMs, askedAtMs);
    return { answer, lateMs };
  } finally {
    answered = true;
    for (const timer of timers) timer.cancel();
  }
}

async function fetchPart(url: URL, watching: Watching): Promise<void> {
  const { connection, reference, record, clock } = watching;
  const partTargetMs = (reference.playlist.partTargetS ?? 1) * 1_000;
  const bodyDeadlineMs = Math.max(1_000, 2.5 * partTargetMs);
  const startMs = clock.monotonicMs();
  const scoreGoodput = (bytes: number, bodyMs: number): void => {
    if (reference.topBandwidthBps <= 0) return;
    const goodputBps = (bytes * 8_000) / Math.max(1, bodyMs);
    record.goodput(goodputBps);
    record.score(
      'goodput',
      scoreOn(goodputBps / reference.topBandwidthBps, SCALES.goodputRatio),
      'slow_goodput',
    );
  };
  try {
    const answer = await connection.get({
      path: url.pathname + url.search,
      firstByteDeadlineMs: watching.patienceMs,
      bodyDeadlineMs,
      bodyBytesMax: PART_BYTES_MAX,
      as: 'hash',
    });
    record.stage('part', answer.firstByteMs + answer.bodyMs);
    record.score('hold', scoreOn(answer.firstByteMs, SCALES.lateMs), 'late_part');
    scoreGoodput(answer.bodyBytes, answer.bodyMs);
    const expected = await reference.part;
    if (expected === undefined) return;
    if (answer.sha256 !== expected.sha256)
      throw new ProbeFailure(answer.bodyBytes < expected.bytes ? 'truncated' : 'bytes_differ');
    record.score('content', 1, 'bytes_differ');
  } catch (error) {
    // Bytes that come, but too slowly, are a slow CDN and not a dead one.
    if (!(error instanceof ProbeFailure) || error.code !== 'body_stalled' || error.bodyBytes === 0)
      throw error;
    record.stage('part', clock.monotonicMs() - startMs);
    scoreGoodput(error.bodyBytes, bodyDeadlineMs);
  }
}
