import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUS_MESSAGE_BYTES_MAX, type Bus, type BusMessage } from '#runtime/bus/bus.ts';
import { waitFor } from '#tests/support/wait-for.ts';

/** Two nodes of one bus, and how to take them apart. */
export type BusPair = {
  readonly one: Bus;
  readonly two: Bus;
  /** Cuts `one` off from the bus; resolves when it has noticed. */
  readonly cut: () => Promise<void>;
  /** Lets `one` back; resolves when it has noticed. */
  readonly mend: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** What every implementation of the bus must do. */
export function describeBus(name: string, open: () => Promise<BusPair>): void {
  describe(`the bus (${name})`, () => {
    let pair: BusPair;
    beforeAll(async () => {
      pair = await open();
    });
    afterAll(() => pair.close());

    /** Collects what arrives on a channel. */
    async function collect(bus: Bus, channel: string) {
      const messages: BusMessage[] = [];
      const subscription = await bus.subscribe(channel, (message) => messages.push(message));
      return { messages, subscription };
    }

    it('brings a message to every node, the sender included, as it was sent', async () => {
      const sent = { text: 'ü"\\\n', list: [1, 2.5, null, true], nested: { a: {} } };
      const here = await collect(pair.one, 'all');
      const there = await collect(pair.two, 'all');
      await pair.one.publish('all', sent);
      await waitFor('both to hear', () => here.messages.length > 0 && there.messages.length > 0);
      expect(here.messages).toEqual([sent]);
      expect(there.messages).toEqual([sent]);
    });

    it('keeps channels apart', async () => {
      const a = await collect(pair.two, 'apart:a');
      const b = await collect(pair.two, 'apart:b');
      await pair.one.publish('apart:a', 'for a');
      await pair.one.publish('apart:b', 'for b');
      await waitFor('b to hear', () => b.messages.length > 0);
      expect([a.messages, b.messages]).toEqual([['for a'], ['for b']]);
    });

    it('keeps the order of a publisher', async () => {
      const { messages } = await collect(pair.two, 'order');
      const numbers = Array.from({ length: 500 }, (_, i) => i);
      await Promise.all(numbers.map((i) => pair.one.publish('order', i)));
      await waitFor('all to arrive', () => messages.length === 500);
      expect(messages).toEqual(numbers);
    });

    it('delivers nothing to a subscription that was closed, and goes on with the others', async () => {
      const gone = await collect(pair.two, 'closed');
      const stays = await collect(pair.two, 'closed');
      await gone.subscription.close();
      await gone.subscription.close();
      await pair.one.publish('closed', 1);
      await waitFor('the other to hear', () => stays.messages.length > 0);
      expect(gone.messages).toEqual([]);
    });

    it('shares no object between nodes', async () => {
      const sent = { value: 1 };
      const { messages } = await collect(pair.one, 'copies');
      await pair.one.publish('copies', sent);
      await waitFor('it to arrive', () => messages.length > 0);
      expect(messages[0]).not.toBe(sent);
    });

    it('refuses what is too large and what is no channel', async () => {
      const large = 'x'.repeat(BUS_MESSAGE_BYTES_MAX);
      await expect(pair.one.publish('large', large)).rejects.toMatchObject({ code: 'bus_message_too_large' });
      await expect(pair.one.publish('no channel', 1)).rejects.toMatchObject({ code: 'bus_channel_invalid' });
      const subscribing = pair.one.subscribe('', () => undefined);
      await expect(subscribing).rejects.toMatchObject({ code: 'bus_channel_invalid' });
      const largest = 'x'.repeat(BUS_MESSAGE_BYTES_MAX - 2);
      const { messages } = await collect(pair.two, 'large');
      await pair.one.publish('large', largest);
      await waitFor('the largest to arrive', () => messages.length > 0);
      expect(messages).toEqual([largest]);
    });

    it('says so when it is cut off, fails at once, and hears again afterwards', async () => {
      const { messages } = await collect(pair.one, 'cut');
      const changes: boolean[] = [];
      const forget = pair.one.onConnectedChange((connected) => changes.push(connected));
      await pair.cut();
      expect(pair.one.connected).toBe(false);
      const startMs = performance.now();
      await expect(pair.one.publish('cut', 'lost')).rejects.toMatchObject({ code: 'bus_unavailable' });
      expect(performance.now() - startMs).toBeLessThan(3_000);
      await pair.mend();
      expect(pair.one.connected).toBe(true);
      await waitFor('a message to get through', async () => {
        await pair.two.publish('cut', 'after');
        return messages.includes('after');
      });
      expect(changes).toEqual([false, true]);
      forget();
    });

    it('takes subscriptions while it is cut off', async () => {
      await pair.cut();
      const { messages } = await collect(pair.one, 'early');
      await pair.mend();
      await waitFor('a message to get through', async () => {
        await pair.two.publish('early', 1);
        return messages.length > 0;
      });
      expect(new Set(messages)).toEqual(new Set([1]));
    });

    it('is silent once it has been closed', async () => {
      const third = await open();
      const { messages } = await collect(third.one, 'end');
      await third.one.close();
      await third.one.close();
      await third.two.publish('end', 1);
      await expect(third.one.publish('end', 1)).rejects.toMatchObject({ code: 'bus_closed' });
      await expect(third.one.subscribe('end', () => undefined)).rejects.toMatchObject({ code: 'bus_closed' });
      expect(third.one.connected).toBe(false);
      expect(messages).toEqual([]);
      await third.close();
    });
  });
}
