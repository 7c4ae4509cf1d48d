import { PATHWAY_ID_PATTERN } from '#protocol/steering/pathway-id.ts';

/**
 * The steering manifest: one JSON body for HLS and DASH. Clones are left out on purpose, most players get them wrong.
 * @spec draft-pantos-content-steering-05 §4; ETSI TS 103 998 §6
 */
export type SteeringManifest = {
  readonly VERSION: 1;
  /** Whole seconds until the player asks again, {@link TTL_MIN_S}…{@link TTL_MAX_S}. */
  readonly TTL: number;
  /** Absolute, with the session's token; shorter than {@link RELOAD_URI_BYTES_MAX}. */
  readonly 'RELOAD-URI': string;
  /** Pathway ids, best first. */
  readonly 'PATHWAY-PRIORITY': readonly string[];
};

/** IANA media type of a steering manifest. */
export const STEERING_MEDIA_TYPE = 'application/vnd.apple.steering-list';
/** 0 or nothing sends hls.js and video.js into a loop without pause; more than 24.8 days overflows their timer. */
export const TTL_MIN_S = 5;
export const TTL_MAX_S = 3_600;
export const RELOAD_URI_BYTES_MAX = 1_024;

/** A manifest that some player would choke on. It is never sent. */
export class SteeringManifestError extends Error {
  override readonly name = 'SteeringManifestError';
  readonly code = 'steering_manifest_invalid';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`not a steering manifest: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** What is known about the session a manifest is for, so that it can be checked against that too. */
export type ManifestContext = {
  /** Pathways of the session's playlist; no other may be listed. */
  readonly declared?: readonly string[];
  /** Pathways that work; with two or more of them the list has two entries or more. */
  readonly live?: readonly string[];
  /** Pathways that do not work; while any is live none of these is listed. */
  readonly dead?: readonly string[];
  /** The reload URI must be https, as it must outside of a test bench. */
  readonly https?: boolean;
};

/**
 * The JSON text of a manifest.
 *
 * @throws {SteeringManifestError} when an invariant does not hold
 */
export function writeSteeringManifest(manifest: SteeringManifest): string {
  const problems = [
    ...checkTtl(manifest.TTL),
    ...checkReloadUri(manifest['RELOAD-URI'], false),
    ...checkPriority(manifest['PATHWAY-PRIORITY']),
  ];
  if (problems.length > 0) throw new SteeringManifestError(problems);
  // No character that was let through needs escaping, so the text can be put together as it stands.
  const priority = manifest['PATHWAY-PRIORITY'].join('","');
  return `{"VERSION":1,"TTL":${manifest.TTL},"RELOAD-URI":"${manifest['RELOAD-URI']}","PATHWAY-PRIORITY":["${priority}"]}`;
}

/** Everything that is wrong with a received manifest, in words; nothing when it is what every player can live with. */
export function checkSteeringManifest(value: unknown, context: ManifestContext = {}): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return ['expected a JSON object'];
  const manifest = value as Record<string, unknown>;
  const priority = manifest['PATHWAY-PRIORITY'];
  const unknownKeys = Object.keys(manifest).filter((key) => !KNOWN_KEYS.has(key));
  return [
    ...(manifest['VERSION'] === 1 ? [] : ['VERSION: expected the number 1']),
    ...checkTtl(manifest['TTL']),
    ...checkReloadUri(manifest['RELOAD-URI'], context.https === true),
    ...checkPriority(priority),
    ...(Array.isArray(priority) ? checkAgainstSession(priority as unknown[], context) : []),
    ...unknownKeys.map((key) => `${key.slice(0, 64)}: not a key of ours`),
  ];
}

const KNOWN_KEYS = new Set(['VERSION', 'TTL', 'RELOAD-URI', 'PATHWAY-PRIORITY']);

function checkTtl(ttl: unknown): string[] {
  return Number.isInteger(ttl) && (ttl as number) >= TTL_MIN_S && (ttl as number) <= TTL_MAX_S
    ? []
    : [`TTL: expected a whole number from ${TTL_MIN_S} to ${TTL_MAX_S}`];
}

/**
 * Absolute, because Shaka cannot resolve a relative one; parameters of `[A-Za-z0-9_-]` only, because video.js encodes
 * anything else again; without `_HLS_*` and `_DASH_*`, because media3 and dash.js append theirs a second time.
 */
const RELOAD_URI_PATTERN =
  /^https?:\/\/[A-Za-z0-9.:[\]-]+\/[A-Za-z0-9._/-]*(?:\?[A-Za-z0-9_-]+=[A-Za-z0-9_-]*(?:&[A-Za-z0-9_-]+=[A-Za-z0-9_-]*)*)?$/;
const STEERING_PARAMETER_PATTERN = /[?&]_(?:HLS|DASH)_/i;

function checkReloadUri(uri: unknown, https: boolean): string[] {
  if (typeof uri !== 'string') return ['RELOAD-URI: expected a string'];
  const problems: string[] = [];
  if (uri.length >= RELOAD_URI_BYTES_MAX)
    problems.push(`RELOAD-URI: expected fewer than ${RELOAD_URI_BYTES_MAX} bytes`);
  if (!RELOAD_URI_PATTERN.test(uri) || !URL.canParse(uri))
    problems.push('RELOAD-URI: expected an absolute URI of plain characters');
  if (STEERING_PARAMETER_PATTERN.test(uri)) problems.push('RELOAD-URI: no _HLS_ or _DASH_ parameters');
  if (https && !uri.startsWith('https://')) problems.push('RELOAD-URI: expected https');
  return problems;
}

function checkPriority(priority: unknown): string[] {
  if (!Array.isArray(priority) || priority.length === 0)
    return ['PATHWAY-PRIORITY: expected at least one pathway'];
  const problems: string[] = [];
  if (!priority.every((id) => typeof id === 'string' && PATHWAY_ID_PATTERN.test(id)))
    problems.push('PATHWAY-PRIORITY: expected pathway ids of A-Z a-z 0-9 . _ -');
  if (new Set(priority).size !== priority.length)
    problems.push('PATHWAY-PRIORITY: a pathway is listed twice');
  return problems;
}

function checkAgainstSession(priority: readonly unknown[], context: ManifestContext): string[] {
  const problems: string[] = [];
  const listed = new Set(priority);
  const { declared, live = [], dead = [] } = context;
  const strangers = declared === undefined ? [] : priority.filter((id) => !declared.includes(id as string));
  if (strangers.length > 0) problems.push(`PATHWAY-PRIORITY: ${strangers.join(', ')} not in the playlist`);
  if (live.length >= 2 && priority.length < 2)
    problems.push('PATHWAY-PRIORITY: one entry switches the failover of hls.js off');
  const wrong = live.length > 0 ? dead.filter((id) => listed.has(id)) : [];
  if (wrong.length > 0) problems.push(`PATHWAY-PRIORITY: ${wrong.join(', ')} is dead`);
  return problems;
}
