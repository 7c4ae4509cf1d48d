import { setTimeout as delay } from 'node:timers/promises';
import type { PublishGrant } from '#protocol/ingest/publish-session.ts';
import type { Clock } from '#runtime/clock.ts';
import type { Logger } from '#runtime/log.ts';
import { OriginCallError, type OriginClient } from '#transcoder/origin-client.ts';
import type { PublishEnd } from './incoming-publish.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { IngestLimits } from './ingest-settings.ts';
import type { StreamHeaders } from './packet-sequencer.ts';
import { Publish } from './publish.ts';

export type PublishRegistryDeps = {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: IngestMetrics;
  readonly origin: OriginClient;
  readonly onStarted: (grant: PublishGrant) => void;
  readonly onEnded: (sessionId: string, reason: PublishEnd) => void;
};

type Entry = { readonly publish: Publish; readonly revoke: (code: string) => void };

/** How long the packets of an ended publish stay for readers that have not finished. */
export const ENDED_PUBLISH_KEPT_MS = 10_000;
const END_REPORT_ATTEMPTS = 3;
const END_REPORT_PAUSE_MS = 250;

/** All publishes of this ingest, and what the origin is asked and told about them. */
export class PublishRegistry {
  readonly #limits: IngestLimits;
  readonly #deps: PublishRegistryDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #reports = new Set<Promise<void>>();

  constructor(limits: IngestLimits, deps: PublishRegistryDeps) {
    this.#limits = limits;
    this.#deps = deps;
  }

  /** Bytes kept for readers, of all publishes. */
  get backlogBytes(): number {
    let byteCount = 0;
    for (const { publish } of this.#entries.values()) byteCount += publish.log.byteCount;
    return byteCount;
  }

  /** A publish that runs, or has ended a moment ago. */
  find(sessionId: string): Publish | undefined {
    return this.#entries.get(sessionId)?.publish;
  }

  /**
   * Asks the origin whether a key may publish.
   *
   * @throws {OriginCallError}
   */
  async authorise(streamKey: string, remoteAddress: string): Promise<PublishGrant> {
    try {
      const grant = await this.#deps.origin.authorise({ streamKey, remoteAddress });
      this.#deps.metrics.authorisations.inc({ result: 'granted' });
      return grant;
    } catch (error) {
      const isRefusal = error instanceof OriginCallError && (error.status === 403 || error.status === 409);
      this.#deps.metrics.authorisations.inc({ result: isRefusal ? error.code : 'failed' });
      throw error;
    }
  }

  /**
   * Begins a publish. The origin decides who publishes: an older publish of the same stream is ended first.
   *
   * @param revoke called when the connection has to go: the origin ended the session, or granted a newer one
   */
  open(grant: PublishGrant, revoke: (code: string) => void, headers?: StreamHeaders): Publish {
    const { clock, metrics, origin, logger, onStarted } = this.#deps;
    for (const { publish, revoke: revokeOlder } of this.#entries.values())
      if (publish.grant.streamId === grant.streamId && publish.endReason === undefined)
        revokeOlder('superseded');
    const publish = new Publish(
      grant,
      this.#limits,
      { clock, metrics, origin, onEnded: (reason) => this.#ended(publish, reason) },
      revoke,
      headers,
    );
    this.#entries.set(grant.sessionId, { publish, revoke });
    metrics.publishes.inc();
    logger.info({ sessionId: grant.sessionId, streamId: grant.streamId }, 'publish started');
    onStarted(grant);
    return publish;
  }

  /** Gives back a grant whose broadcaster left while the origin was being asked. */
  abandon(grant: PublishGrant): void {
    this.#report(grant, 'lost');
  }

  /** Waits until the origin knows of every end, or the reports have failed. */
  async close(): Promise<void> {
    await Promise.all(this.#reports);
  }

  #ended(publish: Publish, reason: PublishEnd): void {
    const { sessionId, streamId } = publish.grant;
    const { clock, metrics, logger, onEnded } = this.#deps;
    metrics.publishes.dec();
    metrics.publishesEnded.inc({ reason });
    logger.info({ sessionId, streamId, reason }, 'publish ended');
    // A session that the origin has ended needs no report.
    if (reason !== 'revoked') this.#report(publish.grant, reason);
    clock.after(ENDED_PUBLISH_KEPT_MS, () => {
      this.#entries.delete(sessionId);
      publish.log.discard();
    });
    onEnded(sessionId, reason);
  }

  #report(grant: PublishGrant, reason: PublishEnd): void {
    const report = this.#sendReport(grant, reason).finally(() => this.#reports.delete(report));
    this.#reports.add(report);
  }

  async #sendReport(grant: PublishGrant, reason: PublishEnd): Promise<void> {
    const { origin, metrics, logger } = this.#deps;
    const end = { sessionId: grant.sessionId, fencingToken: grant.fencingToken, reason };
    for (let attempt = 1; ; attempt++) {
      try {
        await origin.end(grant.streamId, end);
        metrics.endReports.inc({ result: 'ok' });
        return;
      } catch (error) {
        const { code, status } = error as OriginCallError;
        // An answer is an answer: the session is over there already, or the origin does not know it.
        const isFinal = status !== undefined && status < 500;
        if (!isFinal && attempt < END_REPORT_ATTEMPTS) {
          await delay(END_REPORT_PAUSE_MS);
          continue;
        }
        metrics.endReports.inc({ result: isFinal ? 'refused' : 'failed' });
        logger.warn(
          { sessionId: grant.sessionId, reason, code },
          'the origin did not take the report of an end',
        );
        return;
      }
    }
  }
}
