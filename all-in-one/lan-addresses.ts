import { networkInterfaces } from 'node:os';

/** More are not worth a line each. */
const ADDRESSES_MAX = 2;

/** IPv4 addresses by which other machines reach a service that listens on `host`; none when it listens for itself only. */
export function lanAddresses(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [];
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address)
    .slice(0, ADDRESSES_MAX);
}
