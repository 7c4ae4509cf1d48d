import { ProblemError } from '#runtime/http/problem.ts';
import type { SessionSample } from '#steering/demand/session-sample.ts';
import type { PictureKeeper } from '#steering/picture/picture-keeper.ts';
import type { Cdn } from '#steering/registry/cdn.ts';
import { SIMULATED_SESSIONS, simulateChange, type Simulation } from '#steering/simulation/simulate-change.ts';

/** Dry-runs that may go on at a time; each takes some tens of milliseconds of the node's time. */
export const DRY_RUNS_MAX = 2;

/** What a dry-run answers. */
export type DryRunResult = Simulation & {
  readonly dryRun: true;
  /** Viewers that the shares stand for, estimated. */
  readonly viewers: number;
  /** How many of the simulated sessions were real ones. */
  readonly sampled: number;
};

/** Tries changes on the sessions of this node without making them. */
export class DryRuns {
  readonly #deps: {
    readonly picture: PictureKeeper;
    readonly sample: SessionSample;
    readonly viewerBitrateBps: number;
  };
  #running = 0;

  constructor(deps: {
    readonly picture: PictureKeeper;
    readonly sample: SessionSample;
    readonly viewerBitrateBps: number;
  }) {
    this.#deps = deps;
  }

  /**
   * What would move if the CDNs were these. Sessions are taken as beginning anew, so that a CDN which is being added gets
   * its share; those that run now will only come to know it when they reload their playlist.
   *
   * @throws {ProblemError} 503 `dry_runs_busy`
   */
  async run(cdns: readonly Cdn[]): Promise<DryRunResult> {
    if (this.#running >= DRY_RUNS_MAX)
      throw new ProblemError(503, 'dry_runs_busy', 'Other dry-runs are going on; try again in a second.', {
        headers: { 'retry-after': '1' },
      });
    this.#running++;
    try {
      const { picture, sample, viewerBitrateBps } = this.#deps;
      const before = picture.current.compiled.snapshot;
      const sorted = cdns.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      const after = picture.compileWith(sorted, before.generation + 1).snapshot;
      const viewers = Math.round([...picture.viewersByCdn().values()].reduce((sum, count) => sum + count, 0));
      const sampled = Math.min(sample.size, SIMULATED_SESSIONS);
      const sessions = sample.draw(SIMULATED_SESSIONS).map((session) => ({ ...session, generation: 0 }));
      const simulation = await simulateChange({ before, after }, sessions, viewers, viewerBitrateBps);
      return { dryRun: true, viewers, sampled, ...simulation };
    } finally {
      this.#running--;
    }
  }
}
