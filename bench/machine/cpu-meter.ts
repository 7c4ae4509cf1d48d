import { processTree, type ProcessInfo } from '#bench/machine/process-tree.ts';

/** Puts a process under a stage's name, or `undefined` when it is nobody's. */
export type StageOf = (process: ProcessInfo) => string | undefined;

/** CPU of one stage over the measured time. */
export type StageCpu = {
  readonly stage: string;
  /** Percent of one core. */
  readonly cpuPercent: number;
  /** Largest resident memory of all its processes together. */
  readonly residentBytesMax: number;
};

const SAMPLE_INTERVAL_MS = 1_000;

/**
 * Adds up the CPU time of everything below some root processes, by stage. It looks every second, so a process that ends
 * meanwhile keeps what it had used at the last look, and one that starts meanwhile counts from zero.
 */
export class CpuMeter {
  readonly #roots: readonly number[];
  readonly #stageOf: StageOf;
  readonly #seen = new Map<number, { stage: string; firstMs: number; lastMs: number }>();
  readonly #residentMax = new Map<string, number>();
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor(roots: readonly number[], stageOf: StageOf) {
    this.#roots = roots;
    this.#stageOf = stageOf;
    this.#look(true);
    this.#timer = setInterval(() => this.#look(false), SAMPLE_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Ends the measurement; largest stage first. */
  stop(): StageCpu[] {
    clearInterval(this.#timer);
    this.#look(false);
    const elapsedMs = performance.now() - this.#startMs;
    const usedMs = new Map<string, number>();
    for (const { stage, firstMs, lastMs } of this.#seen.values())
      usedMs.set(stage, (usedMs.get(stage) ?? 0) + lastMs - firstMs);
    return [...usedMs]
      .map(([stage, ms]) => ({
        stage,
        cpuPercent: (100 * ms) / elapsedMs,
        residentBytesMax: this.#residentMax.get(stage) ?? 0,
      }))
      .toSorted((a, b) => b.cpuPercent - a.cpuPercent);
  }

  #look(first: boolean): void {
    const resident = new Map<string, number>();
    for (const process of this.#roots.flatMap((root) => processTree(root))) {
      const stage = this.#stageOf(process);
      if (stage === undefined) continue;
      const known = this.#seen.get(process.pid);
      if (known === undefined)
        this.#seen.set(process.pid, { stage, firstMs: first ? process.cpuMs : 0, lastMs: process.cpuMs });
      else known.lastMs = process.cpuMs;
      resident.set(stage, (resident.get(stage) ?? 0) + process.residentBytes);
    }
    for (const [stage, bytes] of resident)
      this.#residentMax.set(stage, Math.max(bytes, this.#residentMax.get(stage) ?? 0));
  }
}
