import { Gauge } from 'prom-client';
import type { Metrics } from '#runtime/metrics.ts';
import type { CompiledPicture } from '#steering/picture/compile-snapshot.ts';

/** The figures of the picture; the label `cdn` is bounded by the registry. */
export type PictureMetrics = ReturnType<typeof createPictureMetrics>;

export function createPictureMetrics(registry: Metrics) {
  const registers = [registry];
  const perCdn = (name: string, help: string) => new Gauge({ name, help, labelNames: ['cdn'], registers });
  const weight = perCdn('steering_cdn_effective_weight', 'Weight that sessions are shared out by.');
  const viewers = perCdn('steering_cdn_viewers', 'Estimated viewers whose first pathway it is, all nodes.');
  const expected = perCdn('steering_cdn_expected_viewers', 'Viewers that the weights will bring it.');
  const panic = new Gauge({ name: 'steering_panic', help: 'Whether everything looks dead.', registers });
  const event = new Gauge({ name: 'steering_event_open', help: 'Whether TTLs are short.', registers });
  const generation = new Gauge({
    name: 'steering_registry_generation',
    help: 'Generation of the registry that answers are made from.',
    registers,
  });
  const excess = new Gauge({
    name: 'steering_excess_viewers',
    help: 'Viewers beyond what all CDNs together can carry.',
    registers,
  });
  const sent = new Gauge({
    name: 'steering_reports_sent',
    help: 'Whether the last report of this node reached the bus.',
    registers,
  });
  const show = (compiled: CompiledPicture, viewersByCdn: ReadonlyMap<string, number>): void => {
    const { snapshot, loads, excessViewers } = compiled;
    panic.set(Number(snapshot.panic));
    event.set(Number(snapshot.event));
    generation.set(snapshot.generation);
    excess.set(excessViewers);
    // CDNs come and go; a label of one that has gone would show its last value for ever.
    for (const gauge of [weight, viewers, expected]) gauge.reset();
    for (const cdn of snapshot.cdns) weight.set({ cdn: cdn.name }, cdn.enabled ? cdn.weight * cdn.health : 0);
    for (const load of loads) {
      expected.set({ cdn: load.name }, load.expectedViewers);
      viewers.set({ cdn: load.name }, Math.round(viewersByCdn.get(load.name) ?? 0));
    }
  };
  return { show, sent };
}
