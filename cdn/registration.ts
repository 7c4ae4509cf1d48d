import { z } from 'zod';

/** Steering did not take a local CDN. */
export class RegistrationError extends Error {
  readonly code = 'cdn_registration_failed';
  override readonly name = 'RegistrationError';
}

const ANSWER_DEADLINE_MS = 5_000;

const KnownCdn = z.object({ name: z.string(), baseUrl: z.string(), enabled: z.boolean() });
const KnownCdns = z.object({ cdns: z.array(KnownCdn) });

/** A CDN as steering is to know it. */
export type RegisteredCdn = { readonly name: string; readonly url: string };

export type SteeringApi = {
  /** `http://host:port` of the steering server. */
  readonly url: string;
  readonly adminToken: string;
  /** What the audit log says. */
  readonly reason: string;
};

/**
 * Tells steering of CDNs: adds those it does not know, corrects addresses and enables them, and disables those of
 * `ours` that are not among them. Weights stay as operators have set them.
 *
 * @param ours names that nobody else uses
 * @throws {RegistrationError}
 */
export async function registerCdns(
  cdns: readonly RegisteredCdn[],
  steering: SteeringApi,
  ours: readonly string[] = [],
): Promise<void> {
  const { cdns: known } = KnownCdns.parse(await (await call(steering, 'GET', '/api/v1/cdns')).json());
  for (const { name, url } of cdns) {
    const found = known.find((cdn) => cdn.name === name);
    if (found === undefined) await call(steering, 'POST', '/api/v1/cdns', { name, baseUrl: url });
    else if (found.baseUrl !== url || !found.enabled)
      await change(steering, name, { baseUrl: url, enabled: true });
  }
  for (const { name, enabled } of known)
    if (ours.includes(name) && enabled && !cdns.some((cdn) => cdn.name === name))
      await change(steering, name, { enabled: false });
}

async function change(steering: SteeringApi, name: string, patch: object): Promise<void> {
  const seen = await call(steering, 'GET', `/api/v1/cdns/${name}`);
  await seen.body?.cancel();
  await call(steering, 'PATCH', `/api/v1/cdns/${name}`, patch, seen.headers.get('etag') ?? '');
}

async function call(
  { url, adminToken, reason }: SteeringApi,
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
    ...(body === undefined ? {} : { body: JSON.stringify({ ...body, reason }) }),
  });
  if (!answer.ok)
    throw new RegistrationError(
      `steering answered ${answer.status} to ${method} ${path}: ${await answer.text()}`,
    );
  return answer;
}
