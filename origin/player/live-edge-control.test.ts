import { describe, expect, it } from 'vitest';
import { LiveEdgeControl, type LiveEdgeDecision } from '#origin/player/live-edge-control.ts';

type Network = {
  readonly partS: number;
  /** Seconds from the end of a part to the moment the player has it, by part number and wall clock. */
  readonly delayS: (part: number, nowS: number) => number;
};

type Moment = LiveEdgeDecision & { readonly nowS: number; readonly currentTimeS: number };

/** Plays a stream against the control in steps of 10 ms, the way a media element would. */
class SimulatedPlayer {
  readonly control = new LiveEdgeControl();
  readonly moments: Moment[] = [];
  readonly seeks: Moment[] = [];
  stalls = 0;
  #nowS = 100;
  #currentTimeS: number;
  #part: number;
  #rate = 1;
  #stalled = false;
  readonly #network: Network;
  readonly #partTargetS: number;

  constructor(network: Network, partTargetS = network.partS * 1.08) {
    this.#network = network;
    this.#partTargetS = partTargetS;
    this.#part = Math.floor(this.#nowS / network.partS);
    this.#currentTimeS = this.#part * network.partS - 3 * partTargetS;
  }

  run(seconds: number): void {
    const untilS = this.#nowS + seconds;
    for (let step = 0; this.#nowS < untilS; step++) {
      this.#nowS += 0.01;
      const { partS, delayS } = this.#network;
      while ((this.#part + 1) * partS + delayS(this.#part + 1, this.#nowS) <= this.#nowS) this.#part++;
      const bufferedEndS = this.#part * partS;
      const nextS = this.#currentTimeS + 0.01 * this.#rate;
      const dry = nextS > bufferedEndS;
      if (dry && !this.#stalled) this.stalls++;
      this.#stalled = dry || (this.#stalled && bufferedEndS - this.#currentTimeS < 0.1);
      if (!this.#stalled) this.#currentTimeS = nextS;
      if (step % 10 === 0) this.#decide(bufferedEndS);
    }
  }

  #decide(bufferedEndS: number): void {
    const decision = this.control.decide({
      nowMs: this.#nowS * 1_000,
      currentTimeS: this.#currentTimeS,
      bufferedEndS,
      // What the playlist says: the newest part listed, moved on by its age; noisy as loads are.
      edgeS: this.#nowS - 0.05 - 0.02 * Math.sin(this.#nowS * 7),
      partTargetS: this.#partTargetS,
      partHoldBackS: 3 * this.#partTargetS,
      stalled: this.#stalled,
    });
    this.#rate = decision.playbackRate;
    const moment = { ...decision, nowS: this.#nowS, currentTimeS: this.#currentTimeS };
    if (decision.seekToS !== undefined) {
      this.seeks.push(moment);
      this.#currentTimeS = decision.seekToS;
    }
    this.moments.push(moment);
  }

  /** Seconds behind the wall clock, at its worst in the last `seconds`. */
  worstLatencyS(seconds: number): number {
    const fromS = this.#nowS - seconds;
    return Math.max(...this.moments.filter((m) => m.nowS >= fromS).map((m) => m.nowS - m.currentTimeS));
  }

  get last(): Moment {
    const last = this.moments.at(-1);
    if (last === undefined) throw new Error('nothing has been played');
    return last;
  }
}

const steady =
  (delayS: number): Network['delayS'] =>
  () =>
    delayS;

describe('LiveEdgeControl on a steady network', () => {
  it.each([
    { partS: 1 / 3, aimS: 0.8 },
    { partS: 0.2, aimS: 0.56 },
  ])('settles about $aimS s behind with parts of $partS s and never stalls', ({ partS, aimS }) => {
    const player = new SimulatedPlayer({ partS, delayS: steady(0.06) });
    player.run(60);
    expect(player.stalls).toBe(0);
    expect(player.last.targetLatencyS).toBeGreaterThan(aimS - 0.05);
    expect(player.last.targetLatencyS).toBeLessThan(aimS + 0.05);
    expect(player.worstLatencyS(30)).toBeLessThan(aimS + 0.15);
  });

  it('starts at PART-HOLD-BACK and stays there until parts have shown their pace', () => {
    const player = new SimulatedPlayer({ partS: 1 / 3, delayS: steady(0.06) });
    player.run(0.9);
    expect(player.last.targetLatencyS).toBeCloseTo(3 * 0.36, 2);
    expect(player.seeks).toEqual([]);
  });

  it('seeks at most once, early, and never past what is safely buffered', () => {
    const player = new SimulatedPlayer({ partS: 1 / 3, delayS: steady(0.06) });
    player.run(60);
    expect(player.seeks).toHaveLength(1);
    expect((player.seeks[0]?.nowS ?? 0) - 100).toBeLessThan(4);
  });

  it('plays at normal speed once it is there', () => {
    const player = new SimulatedPlayer({ partS: 0.2, delayS: steady(0.06) });
    player.run(60);
    const rates = player.moments.slice(-200).map((m) => m.playbackRate);
    expect(rates.filter((rate) => rate === 1).length).toBeGreaterThan(150);
    expect(Math.max(...rates)).toBeLessThanOrEqual(1.03);
  });
});

describe('LiveEdgeControl on a network with jitter', () => {
  it('keeps the distance that late parts need, once it has seen one', () => {
    const late = (part: number): number => (part % 10 === 0 ? 0.75 : 0.06);
    const player = new SimulatedPlayer({ partS: 1 / 3, delayS: late });
    player.run(10);
    expect(player.stalls).toBeLessThanOrEqual(1);
    const { stalls } = player;
    player.run(120);
    expect(player.last.targetLatencyS).toBeGreaterThan(1.05);
    expect(player.stalls).toBe(stalls);
  });

  it('falls back when parts begin to come late, and comes closer again when they do not', () => {
    const spell = (_part: number, nowS: number): number =>
      nowS > 130 && nowS < 160 ? 0.06 + Math.min(0.9, (nowS - 130) * 0.06) : 0.06;
    const player = new SimulatedPlayer({ partS: 1 / 3, delayS: spell });
    player.run(29);
    const calmS = player.last.targetLatencyS;
    player.run(30);
    expect(player.last.targetLatencyS).toBeGreaterThan(calmS + 0.4);
    expect(player.stalls).toBe(0);
    player.run(120);
    expect(player.last.targetLatencyS).toBeLessThan(calmS + 0.05);
  });

  it('forgets one very late part within a minute', () => {
    const hiccup = (part: number): number => (part === 400 ? 3 : 0.06);
    const player = new SimulatedPlayer({ partS: 1 / 3, delayS: hiccup });
    player.run(30);
    const calmS = player.last.targetLatencyS;
    player.run(10);
    expect(player.last.targetLatencyS).toBeGreaterThan(calmS + 1);
    player.run(60);
    expect(player.last.targetLatencyS).toBeLessThan(calmS + 0.3);
  });

  it('remembers late parts longer when they come again and again', () => {
    const again = (part: number): number => (part % 60 === 0 ? 1.2 : 0.06);
    const player = new SimulatedPlayer({ partS: 1 / 3, delayS: again });
    player.run(200);
    const { stalls } = player;
    player.run(200);
    expect(player.stalls).toBe(stalls);
  });

  it('moves away after a stall and forgives it slowly', () => {
    const hole = (_part: number, nowS: number): number => (nowS > 130 && nowS < 132 ? 2 : 0.06);
    const player = new SimulatedPlayer({ partS: 0.2, delayS: hole });
    player.run(29);
    const calmS = player.last.targetLatencyS;
    player.run(8);
    expect(player.stalls).toBeGreaterThan(0);
    expect(player.last.targetLatencyS).toBeGreaterThan(calmS + 0.2);
    const stalls = player.stalls;
    player.run(10);
    expect(player.stalls).toBe(stalls);
    player.run(150);
    expect(player.last.targetLatencyS).toBeLessThan(calmS + 0.05);
  });
});

describe('LiveEdgeControl far behind', () => {
  const sample = {
    partTargetS: 0.36,
    partHoldBackS: 1.08,
    bufferedEndS: 50.2,
    currentTimeS: 50,
    stalled: false,
  };

  it('goes back to PART-HOLD-BACK with one seek and waits before it tries again', () => {
    const control = new LiveEdgeControl();
    const first = control.decide({ ...sample, nowMs: 0, edgeS: 80 });
    expect(first.seekToS).toBeCloseTo(80 - 1.08, 5);
    expect(control.decide({ ...sample, nowMs: 100, edgeS: 80.1 }).seekToS).toBeUndefined();
    expect(control.decide({ ...sample, nowMs: 6_000, edgeS: 86 }).seekToS).toBeCloseTo(86 - 1.08, 5);
  });

  it('does not seek while playback is stalled', () => {
    const control = new LiveEdgeControl();
    expect(control.decide({ ...sample, nowMs: 0, edgeS: 80, stalled: true }).seekToS).toBeUndefined();
  });

  it('slows down when the buffer is about to run dry', () => {
    const control = new LiveEdgeControl();
    const decision = control.decide({ ...sample, nowMs: 0, bufferedEndS: 50.03, edgeS: 51 });
    expect(decision.playbackRate).toBeLessThan(1);
  });
});
