import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  pathwayPriority,
  prepareSnapshot,
  type SteeredSession,
} from '#protocol/steering/pathway-priority.ts';
import type { SteeringSnapshot } from '#protocol/steering/steering-snapshot.ts';

/** Sessions of one simulation: a share is right to about half a percent. */
export const SIMULATED_SESSIONS = 10_000;
/** Sessions decided without letting answers to players in between. */
const SLICE = 250;

/** Sessions that would change their first pathway from one to another. */
export type Movement = {
  readonly from: string;
  readonly to: string;
  /** Of all sessions, 0…1. */
  readonly share: number;
  readonly viewers: number;
  readonly gbps: number;
};

export type Simulation = {
  readonly sessions: number;
  /** Share of all sessions that would move, 0…1. */
  readonly movedShare: number;
  /** Largest first. */
  readonly movements: readonly Movement[];
  /** Share of sessions by first pathway, before and after. */
  readonly before: Readonly<Record<string, number>>;
  readonly after: Readonly<Record<string, number>>;
};

/**
 * What a change would do, by the same decision that answers are made with, for sessions as they are. Gives way to other
 * work every few hundred sessions.
 *
 * @param viewers how many the sessions stand for
 * @param viewerBitrateBps traffic of each of them
 */
export async function simulateChange(
  snapshots: { readonly before: SteeringSnapshot; readonly after: SteeringSnapshot },
  sessions: readonly SteeredSession[],
  viewers: number,
  viewerBitrateBps: number,
): Promise<Simulation> {
  const [old, next] = [prepareSnapshot(snapshots.before), prepareSnapshot(snapshots.after)];
  const counts = { before: new Map<string, number>(), after: new Map<string, number>() };
  const moves = new Map<string, number>();
  const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1);
  for (const [index, session] of sessions.entries()) {
    if (index % SLICE === SLICE - 1) await nextTurn();
    const from = pathwayPriority(old, session)[0] ?? '';
    const to = pathwayPriority(next, session)[0] ?? '';
    count(counts.before, from);
    count(counts.after, to);
    // A space is in no pathway id.
    if (from !== to) count(moves, `${from} ${to}`);
  }
  const movements = [...moves]
    .map(([key, moved]) => {
      const [from = '', to = ''] = key.split(' ');
      const share = moved / sessions.length;
      return {
        from,
        to,
        share,
        viewers: Math.round(share * viewers),
        gbps: gbps(share * viewers, viewerBitrateBps),
      };
    })
    .toSorted((a, b) => b.share - a.share);
  return {
    sessions: sessions.length,
    movedShare: movements.reduce((sum, { share }) => sum + share, 0),
    movements,
    before: shares(counts.before, sessions.length),
    after: shares(counts.after, sessions.length),
  };
}

function gbps(viewers: number, bitrateBps: number): number {
  return Math.round((viewers * bitrateBps) / 1e6) / 1e3;
}

function shares(counts: ReadonlyMap<string, number>, total: number): Record<string, number> {
  return Object.fromEntries([...counts].map(([name, count]) => [name, count / total]));
}
