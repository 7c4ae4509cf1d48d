import { createHmac, randomBytes } from 'node:crypto';

const SECRET_PREFIX = 'whsec_';
const SECRET_BYTES = 32;

/** A secret to sign with, shown to its owner once. */
export function makeWebhookSecret(): string {
  return SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

/**
 * The headers that prove a request to be ours, as the libraries of "Standard Webhooks" check them.
 *
 * @param timestampS seconds since 1970 of this attempt; receivers refuse an old one
 * @spec https://github.com/standard-webhooks/standard-webhooks, "Signature scheme"
 */
export function signatureHeaders(
  secret: string,
  eventId: string,
  timestampS: number,
  body: string,
): Readonly<Record<string, string>> {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
  const mac = createHmac('sha256', key).update(`${eventId}.${timestampS}.${body}`).digest('base64');
  return {
    'webhook-id': eventId,
    'webhook-timestamp': String(timestampS),
    'webhook-signature': `v1,${mac}`,
  };
}
