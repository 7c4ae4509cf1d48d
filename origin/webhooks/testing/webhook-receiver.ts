import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { WebhookEventType } from '#origin/webhooks/webhook-event.ts';

/** What a webhook was told. */
export type Received = {
  readonly path: string;
  readonly id: string;
  readonly type: WebhookEventType;
  readonly tenantId: string;
  readonly data: Readonly<Record<string, string>>;
  /** Whether the signature is right under the secret given for the path. */
  readonly isSigned: boolean;
};

/** A server that takes webhooks, on a port of its own. */
export class WebhookReceiver {
  /** In the order of their arrival, repeated attempts too. */
  readonly received: Received[] = [];
  /** Secrets by path. */
  readonly secrets = new Map<string, string>();
  /** What a path is answered; 204 without. Undefined: not at all. */
  statusOf: (path: string) => number | undefined = () => 204;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((incoming, outgoing) => {
      void text(incoming).then((body) => {
        const path = incoming.url ?? '';
        const header = (name: string): string => String(incoming.headers[name]);
        const key = Buffer.from((this.secrets.get(path) ?? '').replace('whsec_', ''), 'base64');
        const signed = `${header('webhook-id')}.${header('webhook-timestamp')}.${body}`;
        const expected = Buffer.from(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
        const actual = Buffer.from(header('webhook-signature'));
        const isSigned = expected.length === actual.length && timingSafeEqual(expected, actual);
        this.received.push({ ...(JSON.parse(body) as Received), path, isSigned });
        const status = this.statusOf(path);
        if (status !== undefined) outgoing.writeHead(status).end();
      });
    });
  }

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await new Promise<void>((resolve) => void receiver.#server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  url(path: string): string {
    return `http://${this.host}${path}`;
  }

  /** Types of the events that a path was told, in their order. */
  typesAt(path: string): string[] {
    return this.received.filter((request) => request.path === path).map(({ type }) => type);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
