import { setTimeout as delay } from 'node:timers/promises';
import type { MadeUpBroadcast } from '#bench/origin/made-up-broadcast.ts';
import type { ServerProcess } from '#bench/origin/server-process.ts';

/** One server of a comparison, and how it is made to do the same as the others. All requests are ready to be sent. */
export type Subject = {
  readonly server: ServerProcess;
  /** A playlist that is answered at once, and a part. */
  readonly playlist: Buffer;
  readonly part: Buffer;
};

/** A subject that holds requests. */
export type HoldingSubject = Subject & {
  /** The next request to be held, and the one that releases it. */
  nextHold(): { readonly held: Buffer; readonly release: Buffer };
  /** How many requests it holds. */
  heldCount(): Promise<number>;
};

const HELD_DEADLINE_MS = 15_000;
const HELD_POLL_MS = 50;

/** Every request asks for gzip, as CDNs do. */
export function getRequest(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nhost: bench\r\naccept-encoding: gzip\r\n\r\n`);
}

export function originSubject(server: ServerProcess, broadcast: MadeUpBroadcast): HoldingSubject {
  return {
    server,
    playlist: getRequest(broadcast.playlistPath),
    // Parts can be had one by one for some seconds only: the newest one, whenever it is asked for.
    get part() {
      return getRequest(broadcast.partPath);
    },
    nextHold: () => {
      const { msn, part, request } = broadcast.takeNext();
      return {
        held: getRequest(`${broadcast.playlistPath}?_HLS_msn=${msn}&_HLS_part=${part}`),
        release: request,
      };
    },
    heldCount: async () => {
      const metrics = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
      return Number(/^origin_live_waiters(?:\{[^}]*\})? (\d+)$/m.exec(metrics)?.[1] ?? Number.NaN);
    },
  };
}

/** @param uploadBytes size of the upload that releases, the same as at the origin */
export function bareSubject(server: ServerProcess, uploadBytes: number): HoldingSubject {
  const head = `PUT /release HTTP/1.1\r\nhost: bench\r\ncontent-length: ${uploadBytes}\r\n\r\n`;
  const release = Buffer.concat([Buffer.from(head), Buffer.alloc(uploadBytes)]);
  return {
    server,
    playlist: getRequest('/plain'),
    part: getRequest('/part'),
    nextHold: () => ({ held: getRequest('/held'), release }),
    heldCount: async () => Number(await (await fetch(`http://127.0.0.1:${server.port}/count`)).text()),
  };
}

/** @throws when the server does not hold as many in time */
export async function untilHeld(subject: HoldingSubject, count: number): Promise<void> {
  const deadlineMs = performance.now() + HELD_DEADLINE_MS;
  for (;;) {
    const held = await subject.heldCount();
    if (held === count) return;
    if (performance.now() > deadlineMs)
      throw new Error(`${subject.server.name} holds ${held} requests, not ${count}`);
    await delay(HELD_POLL_MS);
  }
}
