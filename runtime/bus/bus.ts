/** What can travel on a bus: JSON, small. */
export type BusMessage =
  string | number | boolean | null | readonly BusMessage[] | { readonly [key: string]: BusMessage };

/** Most bytes of one message as JSON. A bus announces; bodies travel elsewhere. */
export const BUS_MESSAGE_BYTES_MAX = 64 * 1024;
/** Channel names are ours and never made of what a client sent. */
export const BUS_CHANNEL_PATTERN = /^[a-z0-9][a-z0-9:_.-]{0,127}$/;

/**
 * Announcements between the nodes of this system: small JSON messages by channel, to every subscriber including those
 * of the publishing node. **At most once**: a message may be lost (a node was away, the server restarted) and none is
 * kept, so every user of a bus also reconciles by other means. Messages of one publisher on one channel arrive in the
 * order they were published.
 */
export type Bus = {
  /**
   * Sends a message to whoever listens now; resolves when the bus has taken it. Never queues for later.
   *
   * @throws {BusError} `bus_message_too_large`, `bus_channel_invalid`, `bus_closed`, or `bus_unavailable`: nobody can say
   *   whether it will arrive
   */
  publish(channel: string, message: BusMessage): Promise<void>;
  /**
   * Calls `listener` with each message of a channel from when the promise resolves until the subscription is closed. A
   * subscription outlives a lost connection; what was published meanwhile is lost. The listener must not throw.
   *
   * @throws {BusError} `bus_channel_invalid`, `bus_closed`
   */
  subscribe(channel: string, listener: (message: BusMessage) => void): Promise<BusSubscription>;
  /** Whether messages get through now, as far as this node can tell. */
  readonly connected: boolean;
  /**
   * Calls `listener` when {@link Bus.connected} changes. After `true` a user must assume that it missed messages.
   * The returned function ends that.
   */
  onConnectedChange(listener: (connected: boolean) => void): () => void;
  /** Ends all subscriptions and connections. */
  close(): Promise<void>;
};

/** One listener on one channel. */
export type BusSubscription = {
  /** No message is delivered after this has been called; harmless to call twice. */
  close(): Promise<void>;
};

/** Why a bus refused. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly code: 'bus_message_too_large' | 'bus_channel_invalid' | 'bus_unavailable' | 'bus_closed';

  constructor(code: BusError['code'], message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
  }
}

/**
 * A message as the text that travels.
 *
 * @throws {BusError} when the channel or the size is not acceptable
 */
export function encodeBusMessage(channel: string, message: BusMessage): string {
  checkBusChannel(channel);
  const text = JSON.stringify(message);
  const bytes = Buffer.byteLength(text);
  if (bytes > BUS_MESSAGE_BYTES_MAX)
    throw new BusError(
      'bus_message_too_large',
      `a message on ${channel} has ${bytes} bytes, ${BUS_MESSAGE_BYTES_MAX} is the most`,
    );
  return text;
}

/** @throws {BusError} `bus_channel_invalid` */
export function checkBusChannel(channel: string): void {
  if (!BUS_CHANNEL_PATTERN.test(channel))
    throw new BusError('bus_channel_invalid', `${JSON.stringify(channel)} is not a channel name`);
}
