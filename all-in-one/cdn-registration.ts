import { z } from 'zod';
import type { LocalCdn } from '#all-in-one/local-cdns.ts';

/** Steering did not take a local CDN. */
export class CdnRegistrationError extends Error {
  readonly code = 'cdn_registration_failed';
  override readonly name = 'CdnRegistrationError';
}

const LOCAL_NAME = /^local-[a-d]$/;
const ANSWER_DEADLINE_MS = 5_000;
const REASON = 'npm start';

const KnownCdn = z.object({ name: z.string(), baseUrl: z.string(), enabled: z.boolean() });
const KnownCdns = z.object({ cdns: z.array(KnownCdn) });

/**
 * Tells steering of the local CDNs: adds those it does not know, corrects addresses, and disables local CDNs of an earlier
 * start that are not there now. Weights stay as operators have set them.
 *
 * @throws {CdnRegistrationError}
 */
export async function registerLocalCdns(
  cdns: readonly LocalCdn[],
  steering: { readonly url: string; readonly adminToken: string },
): Promise<void> {
  const { cdns: known } = KnownCdns.parse(await (await call(steering, 'GET', '/api/v1/cdns')).json());
  for (const { name, url } of cdns) {
    const found = known.find((cdn) => cdn.name === name);
    if (found === undefined) await call(steering, 'POST', '/api/v1/cdns', { name, baseUrl: url });
    else if (found.baseUrl !== url || !found.enabled)
      await change(steering, name, { baseUrl: url, enabled: true });
  }
  for (const { name, enabled } of known)
    if (LOCAL_NAME.test(name) && enabled && !cdns.some((cdn) => cdn.name === name))
      await change(steering, name, { enabled: false });
}

type SteeringApi = { readonly url: string; readonly adminToken: string };

async function change(steering: SteeringApi, name: string, patch: object): Promise<void> {
  const seen = await call(steering, 'GET', `/api/v1/cdns/${name}`);
  await seen.body?.cancel();
  await call(steering, 'PATCH', `/api/v1/cdns/${name}`, patch, seen.headers.get('etag') ?? '');
}

async function call(
  { url, adminToken }: SteeringApi,
  method: string,
  path: string,
  body?: object,
  etag?: string,
): Promise<Response> {
  const answer = await fetch(`${url}${path}`, {
    method,
    signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
    headers: {
      authorization: `Bearer ${adminToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(etag === undefined ? {} : { 'if-match': etag }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify({ ...body, reason: REASON }) }),
  });
  if (!answer.ok)
    throw new CdnRegistrationError(
      `steering answered ${answer.status} to ${method} ${path}: ${await answer.text()}`,
    );
  return answer;
}
