import type { Clock } from '#runtime/clock.ts';
import type { Disposable } from '#runtime/lifecycle.ts';
import type { Logger } from '#runtime/log.ts';
import type { Metrics } from '#runtime/metrics.ts';
import { createNameResolver } from '#runtime/outbound/resolve-name.ts';
import { TargetGuard } from '#runtime/outbound/target-guard.ts';
import type { RegistryChangeDeps } from '#origin/registry/registry-change.ts';
import type { LiveWindow, PublishSessions } from '#origin/sessions/publish-sessions.ts';
import type { StreamDirectory } from '#origin/sessions/stream-directory.ts';
import { DEFAULT_DISPATCHER_SETTINGS, DeliveryDispatcher } from '#origin/webhooks/delivery-dispatcher.ts';
import { EventOutbox } from '#origin/webhooks/event-outbox.ts';
import { EventSweep } from '#origin/webhooks/event-sweep.ts';
import { StreamWatch } from '#origin/webhooks/stream-watch.ts';
import { WebhookMetrics } from '#origin/webhooks/webhook-metrics.ts';
import { WebhookRegistry } from '#origin/webhooks/webhook-registry.ts';
import { WebhookSender } from '#origin/webhooks/webhook-sender.ts';

export type WebhooksDeps = RegistryChangeDeps & {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly sessions: PublishSessions;
  readonly live: LiveWindow;
  readonly directory: StreamDirectory;
};

/** Sees what happens to streams, and tells those who want to know. */
export class Webhooks implements Disposable {
  readonly registry: WebhookRegistry;
  readonly #outbox: EventOutbox;
  readonly #dispatcher: DeliveryDispatcher;
  readonly #watch: StreamWatch;
  readonly #sweep: EventSweep;

  /**
   * @param settings.allowedTargets webhooks that may be inside or without https
   * @param settings.origin names this origin among several; '' when it is alone
   */
  constructor(
    settings: { readonly allowedTargets: readonly string[]; readonly origin: string },
    deps: WebhooksDeps,
  ) {
    const { clock } = deps;
    const guard = new TargetGuard(settings.allowedTargets);
    const parts = {
      ...deps,
      logger: deps.logger.child({ subsystem: 'webhooks' }),
      metrics: new WebhookMetrics(deps.metrics),
    };
    this.registry = new WebhookRegistry(deps, guard);
    const sender = new WebhookSender({ clock, guard, resolve: createNameResolver({ clock }) });
    const dispatcher = new DeliveryDispatcher(DEFAULT_DISPATCHER_SETTINGS, { ...parts, sender });
    const { origin } = settings;
    const outbox = new EventOutbox({ ...parts, origin, onBegun: () => dispatcher.wake() });
    this.#dispatcher = dispatcher;
    this.#outbox = outbox;
    this.#watch = new StreamWatch({ ...deps, onEvent: (event) => outbox.put(event) });
    this.#sweep = new EventSweep({ ...parts, outbox });
  }

  async close(): Promise<void> {
    this.#watch.close();
    this.#sweep.close();
    await this.#outbox.close();
    await this.#dispatcher.close();
  }
}
