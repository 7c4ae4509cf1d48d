import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '#runtime/clock.ts';
import type { LiveStatus } from '#origin/live/live-streams.ts';
import type { SessionStatus } from '#origin/sessions/publish-sessions.ts';
import { StreamWatch, WATCH_INTERVAL_MS } from '#origin/webhooks/stream-watch.ts';
import type { WebhookEvent } from '#origin/webhooks/webhook-event.ts';

const STATUS: LiveStatus = {
  state: 'live',
  lastMsn: 1,
  lastPart: 0,
  isStale: false,
  renditions: [],
  waiters: 0,
  timelines: 1,
  windowBytes: 0,
};

describe('StreamWatch', () => {
  let clock: FakeClock;
  let here: Map<string, string>;
  let elsewhere: Map<string, SessionStatus>;
  let live: Map<string, LiveStatus>;
  let events: WebhookEvent[];

  beforeEach(() => {
    clock = new FakeClock();
    here = new Map();
    elsewhere = new Map();
    live = new Map();
    events = [];
    new StreamWatch({
      clock,
      sessions: {
        list: () => Array.from(here, ([streamId, sessionId]) => ({ streamId, sessionId, keyId: 'key' })),
        status: (streamId) => elsewhere.get(streamId),
      },
      live: { status: (streamId) => live.get(streamId) },
      directory: { tenantOf: () => 'tenant', nameOf: (streamId) => `Name of ${streamId}` },
      onEvent: (event) => events.push(event),
    });
  });

  const set = (state: LiveStatus['state'] | undefined, timelines = 1): void => {
    if (state === undefined) live.delete('s');
    else live.set('s', { ...STATUS, state, timelines });
  };
  /** What one look sees: `type session`. */
  const seen = (): string[] => {
    events.length = 0;
    clock.advance(WATCH_INTERVAL_MS);
    return events.map(({ type, data }) => `${type} ${data['sessionId'] ?? ''}`);
  };

  it('tells of a stream from its first timeline to the end of its playlist', () => {
    here.set('s', 'one');
    expect(seen()).toEqual([]);
    set('live');
    expect(seen()).toEqual(['stream.live one']);
    expect(seen()).toEqual([]);
    here.delete('s');
    expect(seen()).toEqual([]);
    set('reconnecting');
    expect(seen()).toEqual(['stream.reconnecting one']);
    expect(seen()).toEqual([]);
    set('ended');
    expect(seen()).toEqual(['stream.ended one']);
    expect(seen()).toEqual([]);
  });

  it('says whose it was, what it is called, and when', () => {
    here.set('s', 'one');
    set('live');
    seen();
    expect(events).toEqual([
      {
        type: 'stream.live',
        tenantId: 'tenant',
        streamId: 's',
        atMs: clock.nowMs(),
        occurrence: 'live one',
        data: { streamId: 's', name: 'Name of s', sessionId: 'one' },
      },
    ]);
  });

  it('tells of a broadcaster that comes back within the window', () => {
    here.set('s', 'one');
    set('live');
    seen();
    here.delete('s');
    set('reconnecting');
    expect(seen()).toEqual(['stream.reconnecting one']);
    here.set('s', 'two');
    expect(seen()).toEqual([]);
    set('live', 2);
    expect(seen()).toEqual(['stream.live two']);
  });

  it('tells of one that came back between two looks', () => {
    here.set('s', 'one');
    set('live');
    seen();
    here.set('s', 'two');
    set('live', 2);
    expect(seen()).toEqual(['stream.reconnecting one', 'stream.live two']);
  });

  it('tells of one that comes back after its playlist has ended, even unseen', () => {
    here.set('s', 'one');
    set('live');
    seen();
    here.set('s', 'two');
    set('ended');
    expect(seen()).toEqual(['stream.ended one']);
    set('live', 2);
    expect(seen()).toEqual(['stream.live two']);
  });

  it('tells of a stream that is deleted while it is live', () => {
    here.set('s', 'one');
    set('live');
    seen();
    here.delete('s');
    set(undefined);
    expect(seen()).toEqual(['stream.ended one']);
  });

  it('tells of an encoder that begins again', () => {
    here.set('s', 'one');
    set('live');
    seen();
    set('live', 2);
    expect(seen()).toEqual(['stream.failover one']);
    expect(events[0]?.data['part']).toBe('encoder');
    expect(seen()).toEqual([]);
  });

  it('says nothing of a session that never had a playlist', () => {
    here.set('s', 'one');
    seen();
    here.delete('s');
    expect(seen()).toEqual([]);
  });

  it('leaves a session that moves to another origin to that one', () => {
    here.set('s', 'one');
    set('live');
    seen();
    here.delete('s');
    elsewhere.set('s', { sessionId: 'one', startedAtMs: 0, remoteAddress: '', source: null });
    expect(seen()).toEqual([]);
    elsewhere.clear();
    set('ended');
    expect(seen()).toEqual([]);
  });

  it('ends a stream that was waiting when this process began', () => {
    here.set('s', 'one');
    set('reconnecting');
    seen();
    here.delete('s');
    expect(seen()).toEqual([]);
    set('ended');
    expect(seen()).toEqual(['stream.ended one']);
  });
});
