import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { isInstalled, startCdn } from '#cdn/cdn-process.ts';
import { hasLua } from '#cdn/nginx.ts';
import type { Disposable, DisposableStack } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import { choice, port, text, type SettingsOf, type SettingsSchema } from '#runtime/config/settings.ts';

/** The names that local CDNs have, in this order. */
export const LOCAL_CDN_NAMES = ['local-a', 'local-b', 'local-c', 'local-d'] as const;

const cdnPorts = z
  .string()
  .transform((value) => value.split(',').map((entry) => entry.trim()))
  .pipe(z.array(port).min(1).max(LOCAL_CDN_NAMES.length));

/** What can be set about the CDNs that `npm start` brings up on this machine. */
export const LOCAL_CDN_SETTINGS = {
  LOCAL_CDNS: {
    parse: choice(['auto', 'off']),
    default: 'auto' as const,
    description:
      '`auto`: `npm start` puts caches (nginx, where it is installed) in front of the origin and gives them to steering as its CDNs. `off`: it does not.',
  },
  LOCAL_CDN_PORTS: {
    parse: cdnPorts,
    default: [8101, 8102] as readonly number[],
    description: 'Ports of the local CDNs, one for each, at most 4; 0 takes any free one.',
  },
  LOCAL_CDN_HOST: {
    parse: text(1, 255),
    default: '127.0.0.1',
    description: 'Address that the local CDNs listen on and that players are told.',
  },
} satisfies SettingsSchema;

export type LocalCdnSettings = SettingsOf<typeof LOCAL_CDN_SETTINGS>;

/** A CDN of this machine, as steering is to know it. */
export type LocalCdn = { readonly name: string; readonly url: string };

/** The CDNs that are to be started, or why there are none. */
export type LocalCdnPlan = {
  readonly cdns: readonly (LocalCdn & { readonly host: string; readonly port: number })[];
  /** A sentence for a person, where something is missing. */
  readonly note?: string;
};

/** Decides on the local CDNs before anything is started: others need to know their addresses. */
export async function planLocalCdns(
  settings: LocalCdnSettings,
  options: { readonly originSpeaksTls: boolean },
): Promise<LocalCdnPlan> {
  if (settings.LOCAL_CDNS === 'off') return { cdns: [] };
  if (!isInstalled('nginx'))
    return { cdns: [], note: 'none: nginx is not installed (./setup.sh test installs it)' };
  if (options.originSpeaksTls) return { cdns: [], note: 'none: the origin speaks HTTPS' };
  const host = settings.LOCAL_CDN_HOST;
  const ports = await freePorts(settings.LOCAL_CDN_PORTS, host);
  const cdns = ports.map((port, index) => ({
    name: LOCAL_CDN_NAMES[index] ?? '',
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    host,
    port,
  }));
  return hasLua()
    ? { cdns }
    : { cdns, note: 'up to 0.5 s late without libnginx-mod-http-lua (./setup.sh test installs it)' };
}

/**
 * Starts the local CDNs as children. One that ends by itself is not started again: steering and players do without it, and
 * to see that is what they are for.
 *
 * @throws {CdnStartError}
 */
export async function startLocalCdns(
  plan: LocalCdnPlan,
  options: { readonly originUrl: string; readonly dataDir: string; readonly pullToken: string },
  { logger }: { readonly logger: Logger },
  started: DisposableStack,
): Promise<void> {
  for (const { name, host, port } of plan.cdns) {
    const folder = join(options.dataDir, 'cdns', name);
    const { originUrl, pullToken } = options;
    const cdn = await startCdn('nginx', { originUrls: [originUrl], host, port, folder, pullToken });
    let closing = false;
    const stoppable: Disposable = {
      close: () => {
        closing = true;
        return cdn.close();
      },
    };
    started.add(`local CDN ${name}`, stoppable, () => stoppable.close());
    void cdn.ended.then((how) => {
      if (!closing) logger.warn({ cdn: name, how }, 'a local CDN has ended');
    });
  }
}

/** Ports of 0 replaced by free ones: no such program says which port it took. */
async function freePorts(ports: readonly number[], host: string): Promise<number[]> {
  const held = await Promise.all(
    ports.map(async (wanted) => {
      if (wanted !== 0) return { port: wanted };
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, host, resolve);
      });
      return { port: (server.address() as AddressInfo).port, server };
    }),
  );
  // All are held until the last is found, so that none is given twice.
  await Promise.all(
    held.map(({ server }) => new Promise((resolve) => void (server?.close(resolve) ?? resolve(0)))),
  );
  return held.map((entry) => entry.port);
}
