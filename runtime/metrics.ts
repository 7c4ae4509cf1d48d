import { Registry, collectDefaultMetrics } from 'prom-client';

/** A service's Prometheus registry. Each service has its own, also when several share one process. */
export type Metrics = Registry;

/**
 * Creates the registry of a service with the default process metrics and a `service` label on everything.
 * Label values must stay bounded: never a viewer, a publish session, a key or a URL.
 */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return registry;
}
