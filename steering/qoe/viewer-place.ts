import { isIPv4, isIPv6 } from 'node:net';

/** From where a viewer watches, as far as it is known. */
export type Place = {
  /** ISO 3166-1 alpha-2, upper case. */
  readonly country?: string | undefined;
  /** Autonomous system number. */
  readonly asn?: number | undefined;
};

/**
 * The cohorts a viewer at `place` belongs to, the narrowest first: its network, its country, everybody. Where a narrow
 * one has too few viewers to say anything, the next one speaks.
 */
export function cohortsOf(cdn: string, place: Place): readonly string[] {
  const keys: string[] = [];
  if (place.asn !== undefined && Number.isInteger(place.asn)) keys.push(`${cdn}\nAS${place.asn}`);
  if (place.country !== undefined && /^[A-Z]{2}$/.test(place.country)) keys.push(`${cdn}\n${place.country}`);
  keys.push(globalCohort(cdn));
  return keys;
}

/** The cohort of all viewers of a CDN. */
export function globalCohort(cdn: string): string {
  return `${cdn}\n`;
}

/** The CDN and the place of a cohort's key. */
export function splitCohort(key: string): { readonly cdn: string; readonly place: string } {
  const at = key.indexOf('\n');
  return { cdn: key.slice(0, at), place: key.slice(at + 1) };
}

/**
 * What counts as one voice: an IPv4 address, or the /56 that a household gets with IPv6, because whoever has one address
 * of it has all of them. Whatever is no address is the one voice of the unknown.
 */
export function voiceOf(address: string | undefined): string {
  if (address === undefined) return '?';
  const plain = address.startsWith('::ffff:') && isIPv4(address.slice(7)) ? address.slice(7) : address;
  if (isIPv4(plain)) return plain;
  if (!isIPv6(plain)) return '?';
  const [head = '', tail] = plain.split('%', 1)[0]?.toLowerCase().split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const filled =
    tail === undefined ? groups : [...groups, ...zeros(8 - groups.length - after.length), ...after];
  const [first = '0', second = '0', third = '0', fourth = '0'] = filled;
  const upper = (Number.parseInt(fourth, 16) >> 8).toString(16);
  return `${first}:${second}:${third}:${upper}/56`;
}

function zeros(count: number): string[] {
  return Array.from({ length: Math.max(0, count) }, () => '0');
}
