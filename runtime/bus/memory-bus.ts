import {
  BusError,
  checkBusChannel,
  encodeBusMessage,
  type Bus,
  type BusMessage,
  type BusSubscription,
} from '#runtime/bus/bus.ts';

/** What several {@link MemoryBus}es of one process share: the stand-in for the server. */
export class MemoryBusHub {
  readonly #listeners = new Map<string, Set<(text: string) => void>>();

  /** Delivers on a later turn, as a network would, so that no publisher runs inside a listener. */
  publish(channel: string, text: string): void {
    const listeners = [...(this.#listeners.get(channel) ?? [])];
    if (listeners.length === 0) return;
    setImmediate(() => {
      for (const listener of listeners) listener(text);
    });
  }

  add(channel: string, listener: (text: string) => void): void {
    const listeners = this.#listeners.get(channel) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(channel, listeners);
  }

  remove(channel: string, listener: (text: string) => void): void {
    const listeners = this.#listeners.get(channel);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(channel);
  }
}

/** The bus of a single machine. Messages go through JSON, so that nobody comes to share an object by it. */
export class MemoryBus implements Bus {
  readonly #hub: MemoryBusHub;
  readonly #open = new Set<BusSubscription>();
  readonly #connectedListeners = new Set<(connected: boolean) => void>();
  #closed = false;
  #connected = true;

  /** @param hub give several buses the same one to let them hear each other */
  constructor(hub: MemoryBusHub = new MemoryBusHub()) {
    this.#hub = hub;
  }

  get connected(): boolean {
    return this.#connected && !this.#closed;
  }

  /** For tests: cuts this node off from the hub, or lets it back. */
  setConnected(connected: boolean): void {
    if (connected === this.#connected) return;
    this.#connected = connected;
    for (const listener of this.#connectedListeners) listener(connected);
  }

  publish(channel: string, message: BusMessage): Promise<void> {
    return Promise.resolve().then(() => {
      const text = encodeBusMessage(channel, message);
      if (this.#closed) throw new BusError('bus_closed', 'this bus has been closed');
      if (!this.#connected) throw new BusError('bus_unavailable', 'this node is cut off from the bus');
      this.#hub.publish(channel, text);
    });
  }

  subscribe(channel: string, listener: (message: BusMessage) => void): Promise<BusSubscription> {
    return Promise.resolve().then(() => {
      checkBusChannel(channel);
      if (this.#closed) throw new BusError('bus_closed', 'this bus has been closed');
      let active = true;
      const deliver = (text: string): void => {
        if (active && this.#connected) listener(JSON.parse(text) as BusMessage);
      };
      this.#hub.add(channel, deliver);
      const subscription: BusSubscription = {
        close: () => {
          active = false;
          this.#hub.remove(channel, deliver);
          this.#open.delete(subscription);
          return Promise.resolve();
        },
      };
      this.#open.add(subscription);
      return subscription;
    });
  }

  onConnectedChange(listener: (connected: boolean) => void): () => void {
    this.#connectedListeners.add(listener);
    return () => void this.#connectedListeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#connectedListeners.clear();
    for (const subscription of this.#open) await subscription.close();
  }
}
