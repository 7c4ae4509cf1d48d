import { BlockList, isIP } from 'node:net';

/** Why a target is not asked. */
export type TargetRefusal =
  'url_invalid' | 'scheme_not_allowed' | 'credentials_in_url' | 'address_not_allowed' | 'name_not_resolved';

/** The target would let what somebody has set (a CDN, a webhook) reach where only we may reach. Stable `code`, nothing of the answer in it. */
export class TargetRefusedError extends Error {
  override readonly name = 'TargetRefusedError';
  readonly code: TargetRefusal;

  constructor(code: TargetRefusal, message: string) {
    super(message);
    this.code = code;
  }
}

/** Where a name led, checked. Only this address may be connected to. */
export type PinnedAddress = { readonly address: string; readonly family: 4 | 6 };

/** Resolves a host name to all its addresses; rejects when there are none or `signal` aborts. */
export type ResolveName = (hostname: string, signal: AbortSignal) => Promise<readonly string[]>;

/**
 * Addresses that are not the public internet.
 * @spec IANA special-purpose address registries (RFC 6890 and successors)
 */
const NOT_PUBLIC: readonly (readonly [network: string, prefix: number, family: 'ipv4' | 'ipv6'])[] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.0.2.0', 24, 'ipv4'],
  ['192.88.99.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['198.51.100.0', 24, 'ipv4'],
  ['203.0.113.0', 24, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
  ['2001::', 23, 'ipv6'],
  ['2001:db8::', 32, 'ipv6'],
  // 6to4 carries an IPv4 address in it that would have to be judged too; nobody serves video there.
  ['2002::', 16, 'ipv6'],
  ['3fff::', 20, 'ipv6'],
];
/** Outside of global unicast nothing is public: loopback, mapped, NAT64, unique local, link-local, multicast. */
const GLOBAL_UNICAST_V6 = ['2000::', 3] as const;

/** Most entries of an allow-list, and most addresses of one name that are looked at. */
export const ALLOWED_TARGETS_MAX = 64;
export const ADDRESSES_PER_NAME_MAX = 32;

const notPublic = new BlockList();
for (const [network, prefix, family] of NOT_PUBLIC) notPublic.addSubnet(network, prefix, family);
const globalUnicast = new BlockList();
globalUnicast.addSubnet(...GLOBAL_UNICAST_V6, 'ipv6');

/** Whether an address literal belongs to the public internet. `false` for anything that is not an address. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !notPublic.check(address, 'ipv4');
  if (family === 6)
    return (
      !address.includes('%') && globalUnicast.check(address, 'ipv6') && !notPublic.check(address, 'ipv6')
    );
  return false;
}

/** Decides which hosts a service may connect to because somebody has set their URL: probes of CDNs, webhooks. */
export class TargetGuard {
  readonly #hosts = new Set<string>();
  readonly #networks = new BlockList();

  /**
   * @param allowed targets that need be neither public nor https: `host`, `host:port`, an address or a network like
   *   `10.1.0.0/16`
   * @throws {RangeError} when an entry is none of these, or there are more than {@link ALLOWED_TARGETS_MAX}
   */
  constructor(allowed: readonly string[] = []) {
    if (allowed.length > ALLOWED_TARGETS_MAX)
      throw new RangeError(`at most ${ALLOWED_TARGETS_MAX} allowed targets`);
    for (const entry of allowed) this.#allow(entry);
  }

  #allow(entry: string): void {
    const [network = '', prefix, ...rest] = entry.split('/');
    const family = isIP(network);
    if (family !== 0 && rest.length === 0) {
      const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix);
      if (!Number.isInteger(bits) || bits < 0 || bits > (family === 4 ? 32 : 128))
        throw new RangeError(`allowed target ${entry}: the prefix length is not valid`);
      this.#networks.addSubnet(network, bits, family === 4 ? 'ipv4' : 'ipv6');
      return;
    }
    if (!/^[a-z0-9.-]{1,253}(:\d{1,5})?$/i.test(entry))
      throw new RangeError(`allowed target ${entry}: expected host, host:port, address or network`);
    this.#hosts.add(entry.toLowerCase());
  }

  /**
   * Checks what can be said of a URL without resolving its name.
   *
   * @throws {TargetRefusedError}
   */
  checkUrl(text: string): URL {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || text.length > 2_048)
      throw new TargetRefusedError('url_invalid', 'the target is not a URL');
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && this.#isAllowedUrl(url)))
      throw new TargetRefusedError('scheme_not_allowed', 'the target must be https');
    if (url.username !== '' || url.password !== '')
      throw new TargetRefusedError('credentials_in_url', 'the target must not hold credentials');
    const literal = addressLiteral(url);
    if (literal !== undefined && !this.#mayConnect(url, literal)) throw refusedAddress();
    return url;
  }

  /**
   * Resolves the host of a checked URL once and says which address to connect to. Of several, `turn` picks one, so that
   * successive requests see all of them.
   *
   * @throws {TargetRefusedError} when the name does not resolve, or any of its addresses is not to be reached: a name
   *   that leads outside and inside at once is a trap
   */
  async pin(url: URL, resolve: ResolveName, signal: AbortSignal, turn = 0): Promise<PinnedAddress> {
    const literal = addressLiteral(url);
    const addresses =
      literal === undefined
        ? (await resolve(url.hostname, signal)).slice(0, ADDRESSES_PER_NAME_MAX)
        : [literal];
    for (const address of addresses) if (!this.#mayConnect(url, address)) throw refusedAddress();
    // A machine without IPv6 must not take a target for dead because it has AAAA records too.
    const v4 = addresses.filter((address) => isIP(address) === 4);
    const candidates = v4.length > 0 ? v4 : addresses;
    const address = candidates[turn % Math.max(1, candidates.length)];
    if (address === undefined) throw new TargetRefusedError('name_not_resolved', 'the target has no address');
    return { address, family: isIP(address) === 6 ? 6 : 4 };
  }

  #isAllowedUrl(url: URL): boolean {
    const host = url.hostname.toLowerCase();
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
    if (this.#hosts.has(host) || this.#hosts.has(`${host}:${port}`)) return true;
    const literal = addressLiteral(url);
    return literal !== undefined && this.#isAllowedAddress(literal);
  }

  #isAllowedAddress(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#networks.check(address, family === 4 ? 'ipv4' : 'ipv6');
  }

  #mayConnect(url: URL, address: string): boolean {
    return isPublicAddress(address) || this.#isAllowedAddress(address) || this.#isAllowedUrl(url);
  }
}

/** Whether {@link TargetGuard} takes these entries. */
export function areAllowedTargets(entries: readonly string[]): boolean {
  try {
    return new TargetGuard(entries) instanceof TargetGuard;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/**
 * Resolves the host of a URL that comes from our own settings, without judging where it leads.
 *
 * @throws {TargetRefusedError} when the name does not resolve
 */
export async function pinTrusted(
  url: URL,
  resolve: ResolveName,
  signal: AbortSignal,
): Promise<PinnedAddress> {
  const literal = addressLiteral(url);
  const address = literal ?? (await resolve(url.hostname, signal))[0];
  if (address === undefined)
    throw new TargetRefusedError('name_not_resolved', `${url.hostname} has no address`);
  return { address, family: isIP(address) === 6 ? 6 : 4 };
}

function refusedAddress(): TargetRefusedError {
  return new TargetRefusedError('address_not_allowed', 'the target leads to an address inside');
}

/** The host of a URL when it is an address; the URL parser has already undone decimal, octal and hex spellings. */
function addressLiteral(url: URL): string | undefined {
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  return isIP(host) === 0 ? undefined : host;
}
