import { SimSession, SimRegistry } from '#tests/sim/sim-broadcast.ts';
import { SimAudit } from '#tests/sim/sim-audit.ts';
import { SimOrigin, type Sabotage } from '#tests/sim/sim-origin.ts';
import { CLEAN_LINK, type SimLink } from '#tests/sim/sim-uploader.ts';
import { SimViewer } from '#tests/sim/sim-viewers.ts';
import { SimWorld } from '#tests/sim/sim-world.ts';

export type SimulationOptions = {
  readonly seed: number;
  readonly viewers?: number;
  /** How long things go wrong, ms. */
  readonly faultsMs?: number;
  /** Puts broken parts in the place of right ones. */
  readonly sabotage?: Sabotage;
};

export type SimReport = {
  readonly checks: ReadonlyMap<string, number>;
  readonly faults: readonly string[];
  readonly sessions: number;
};

const STEP_MS = 20;
const AUDIT_MS = 500;
/** A new part is there so long after everything is whole again. */
const RECOVERY_MS = 2_000;
const SETTLE_MS = 5_000;
const FAULTS = [
  'loss',
  'unanswered',
  'doubled',
  'delay',
  'cut',
  'origin restart',
  'both origins restart',
  'pipeline restart',
  'pipeline hang',
  'session change',
  'takeover from a zombie',
  'clock step',
] as const;
type Fault = (typeof FAULTS)[number];

/**
 * One stream, its sessions of one or two pipelines, two origins and many viewers, while everything fails that can.
 * Each seed has faults of some kinds only, so that some runs have much of one thing.
 *
 * @throws {SimFailure} with the seed and what happened before, when a promise is broken
 */
export async function simulate(options: SimulationOptions): Promise<SimReport> {
  const simulation = new Simulation(options);
  return await simulation.run();
}

class Simulation {
  readonly #world: SimWorld;
  readonly #faultsMs: number;
  readonly #origins: readonly SimOrigin[];
  readonly #registry: SimRegistry;
  readonly #audit: SimAudit;
  readonly #viewers: readonly SimViewer[];
  readonly #faults: readonly Fault[];
  readonly #pipelines: number;
  /** By pipeline and origin; the same for all sessions. */
  readonly #links: readonly ReadonlyMap<SimOrigin, SimLink>[];
  #session: SimSession;
  #sessions = 1;
  #isOver = false;

  constructor({ seed, viewers = 120, faultsMs = 30_000, sabotage = (port) => port }: SimulationOptions) {
    const world = new SimWorld(seed);
    this.#world = world;
    this.#faultsMs = faultsMs;
    this.#pipelines = world.chance(0.6) ? 2 : 1;
    this.#faults = FAULTS.filter(() => world.chance(0.4));
    this.#origins = ['origin A', 'origin B'].map(
      (name, index) => new SimOrigin(name, world, sabotage, () => this.#isLast(index)),
    );
    this.#registry = new SimRegistry(world, this.#origins);
    this.#links = Array.from(
      { length: this.#pipelines },
      () =>
        new Map(this.#origins.map((origin) => [origin, { ...CLEAN_LINK, delayMs: world.between(2, 40) }])),
    );
    this.#audit = new SimAudit(world, this.#origins, this.#pipelines === 1);
    this.#viewers = Array.from(
      { length: viewers },
      (_, index) => new SimViewer(world, this.#origins, this.#audit, index),
    );
    this.#session = this.#newSession();
  }

  async run(): Promise<SimReport> {
    const world = this.#world;
    const watching = this.#viewers.map((viewer) => viewer.watch(() => this.#isOver));
    let crash: unknown;
    for (const each of watching) each.catch((error: unknown) => (crash ??= error));
    this.#nextFault();
    await this.#pass(this.#faultsMs);
    this.#heal();
    await this.#pass(SETTLE_MS);
    const before = this.#audit.newestMedia();
    await this.#pass(RECOVERY_MS);
    const after = this.#audit.newestMedia();
    world.expect('parts come again', after.size > 0, () => 'no origin holds the stream');
    for (const [name, part] of after)
      world.expect('parts come again', part !== before.get(name), () => `${name} still ends with ${part}`);
    const stuck = this.#viewers.filter(({ advancedMs }) => world.nowMs - advancedMs > RECOVERY_MS).length;
    world.expect('viewers go on', stuck === 0, () => `${stuck} of ${this.#viewers.length} stand still`);
    this.#isOver = true;
    for (const origin of this.#origins) origin.kill();
    await this.#pass(2_000, false);
    if (crash !== undefined) throw new Error('a viewer failed', { cause: crash });
    if (world.failure !== undefined) throw world.failure;
    return { checks: world.checks, faults: this.#faults, sessions: this.#sessions };
  }

  /** @throws {SimFailure} as soon as a promise is broken */
  async #pass(ms: number, isAudited = true): Promise<void> {
    const untilMs = this.#world.nowMs + ms;
    let auditMs = this.#world.nowMs + AUDIT_MS;
    while (this.#world.nowMs < untilMs) {
      this.#world.clock.advance(STEP_MS);
      await settlePromises();
      if (isAudited) this.#audit.readPlaylists();
      if (isAudited && this.#world.nowMs >= auditMs) {
        auditMs += AUDIT_MS;
        await this.#audit.fetchListed();
      }
      if (this.#world.failure !== undefined) throw this.#world.failure;
    }
  }

  #newSession(): SimSession {
    return new SimSession(this.#world, this.#origins, this.#registry, this.#links);
  }

  get #allLinks(): SimLink[] {
    return this.#links.flatMap((links) => [...links.values()]);
  }

  #isLast(index: number): boolean {
    return !this.#origins.some(
      ({ isHolder, port }, other) =>
        other !== index && isHolder && port !== undefined && port.stream?.status.isStale === false,
    );
  }

  #nextFault(): void {
    const world = this.#world;
    if (this.#faults.length === 0) return;
    world.after(world.between(300, 4_000), () => {
      if (world.nowMs > this.#faultsMs - 500) return;
      this.#happen(world.pick(this.#faults));
      this.#nextFault();
    });
  }

  #happen(fault: Fault): void {
    const world = this.#world;
    const link = world.pick(this.#allLinks);
    const forMs = world.between(200, 6_000);
    const whileIt = (change: Partial<SimLink>): void => {
      world.note(`a link has ${JSON.stringify(change)} for ${Math.round(forMs)} ms`);
      Object.assign(link, change);
      world.after(forMs, () => Object.assign(link, CLEAN_LINK));
    };
    switch (fault) {
      case 'loss':
        return whileIt({ lost: world.between(0.05, 0.6) });
      case 'unanswered':
        return whileIt({ unanswered: world.between(0.05, 0.5) });
      case 'doubled':
        return whileIt({ doubled: world.between(0.1, 0.8) });
      case 'delay':
        return whileIt({ delayMs: world.between(50, 400) });
      case 'cut':
        return whileIt({ isCut: true });
      case 'origin restart':
        return this.#restart(world.pick(this.#origins), forMs / 3);
      case 'both origins restart':
        return this.#origins.forEach((origin) => this.#restart(origin, forMs / 3));
      case 'pipeline restart':
        return world.pick(this.#session.pipelines).restart(forMs / 2);
      case 'pipeline hang':
        return world.pick(this.#session.pipelines).pause(forMs);
      case 'session change':
        this.#session.end(world.chance(0.5) ? 'lost' : 'unpublished');
        return world.after(forMs * 3, () => this.#renew());
      case 'takeover from a zombie':
        for (const pipeline of this.#session.pipelines) pipeline.pause(forMs);
        return world.after(forMs / 2, () => this.#renew(true));
      case 'clock step':
        return world.clock.stepWallClock(Math.round(world.between(-3_000, 3_000)));
    }
  }

  #restart(origin: SimOrigin, afterMs: number): void {
    origin.kill();
    this.#world.after(afterMs, () => origin.start());
  }

  #renew(isForced = false): void {
    if (!this.#session.isOver && !isForced) return;
    this.#sessions += 1;
    this.#session = this.#newSession();
  }

  /** Everything is whole again. */
  #heal(): void {
    this.#world.note('everything is whole again');
    for (const link of this.#allLinks) Object.assign(link, CLEAN_LINK);
    for (const origin of this.#origins) origin.start();
    this.#renew();
  }
}

/** Lets everything run that waits for nothing but its turn. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
