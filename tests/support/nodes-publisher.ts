import { setTimeout as delay } from 'node:timers/promises';
import { Registry } from 'prom-client';
import type { PublishGrant, TimelineGrant } from '#protocol/ingest/publish-session.ts';
import { systemClock } from '#runtime/clock.ts';
import { createLogger } from '#runtime/log.ts';
import { makeInit, makePart, makePresentation, partTicks } from '#origin/live/testing/synthetic-media.ts';
import { INGEST_TOKEN, type OriginNode } from '#tests/support/origin-nodes.ts';
import type { CutInit } from '#transcoder/cutter/cut-part.ts';
import { OriginClient } from '#transcoder/origin-client.ts';
import { PartPublisher } from '#transcoder/publisher/part-publisher.ts';
import type { TranscodeError } from '#transcoder/transcode-error.ts';
import { TranscodeMetrics } from '#transcoder/transcode-metrics.ts';

/** A broadcast of made-up media in real time, by the real clients of ingest and transcoder. */
export type NodesPublisher = {
  readonly grant: PublishGrant;
  readonly timeline: TimelineGrant;
  /** Why the origins took no more, if that has happened. */
  readonly fatal: () => TranscodeError | undefined;
  /** Parts of each rendition so far. */
  readonly cells: () => number;
  /** Goes on with a new timeline. */
  restart(): Promise<TimelineGrant>;
  /** Says goodbye, and stops. */
  end(): Promise<void>;
  /** Stops as if the machine had died. */
  vanish(): Promise<void>;
};

/** Makes a stream; gives its id and its key. */
export async function createStream(
  node: OriginNode,
  body: object = {},
): Promise<{ readonly id: string; readonly streamKey: string }> {
  const response = await node.call('POST', '/api/v1/streams', body);
  if (response.status !== 201) throw new Error(`creating a stream was answered ${response.status}`);
  return (await response.json()) as { id: string; streamKey: string };
}

/** @param nodes in the order in which they are asked */
export async function publishTo(nodes: readonly OriginNode[], streamKey: string): Promise<NodesPublisher> {
  const originUrls = nodes.map(({ url }) => url);
  const client = new OriginClient({
    originUrls,
    ingestToken: INGEST_TOKEN,
    authoriseTimeoutMs: 4_000,
    heartbeatTimeoutMs: 2_500,
    endReportTimeoutMs: 2_500,
  });
  const grant = await client.authorise({ streamKey, remoteAddress: '192.0.2.1' });
  const presentation = makePresentation();
  const { renditions, partsPerSegment, segmentDuration } = presentation;
  const cellMs = (segmentDuration.ticks * 1_000) / segmentDuration.timescale / partsPerSegment;
  let fatal: TranscodeError | undefined;
  const publisher = new PartPublisher(
    {
      originUrls,
      ingestToken: INGEST_TOKEN,
      timelineDeadlineMs: 8_000,
      upload: { bytesMax: 16_000_000, ageMaxMs: 5_000, itemsPerRenditionMax: 100, attemptTimeoutMs: 2_000 },
    },
    grant,
    {
      clock: systemClock,
      logger: createLogger('test', 'silent'),
      metrics: new TranscodeMetrics(new Registry()),
    },
    (error) => {
      fatal = error;
    },
  );
  const planned = renditions.map(({ id, kind, bitrateBps }) => ({ id, kind, bitrateBps }));
  const stop = new AbortController();
  let timeline: TimelineGrant;
  let cell = 0;
  let startMs = 0;

  const publishCell = (index: number): void => {
    for (const rendition of renditions) {
      const ticks = partTicks(presentation, rendition, index);
      const part = index % partsPerSegment;
      const segment = Math.floor(index / partsPerSegment);
      const independent = rendition.kind === 'audio' || part === 0;
      const label = `${rendition.id} ${timeline.firstMsn + segment}.${part}`;
      publisher.publishPart(
        {
          renditionId: rendition.id,
          segment,
          part,
          ...ticks,
          independent,
          last: part === partsPerSegment - 1,
          bytes: makePart({ ...ticks, independent, label }),
          arrivalUtcMs: Date.now(),
        },
        rendition.kind,
      );
    }
  };
  const begin = async (): Promise<TimelineGrant> => {
    // Two segments at once, as if they had been waiting, so that a playlist is there.
    const head = 2 * partsPerSegment;
    timeline = await publisher.beginTimeline(
      { anchorUtcMs: Math.round(Date.now() - head * cellMs), presentation },
      planned as unknown as Parameters<PartPublisher['beginTimeline']>[1],
      stop.signal,
    );
    for (const rendition of renditions)
      publisher.publishInit({
        renditionId: rendition.id,
        bytes: makeInit(rendition, timeline.timeline),
        track: { kind: rendition.kind },
      } as unknown as CutInit);
    startMs = performance.now() - head * cellMs;
    for (cell = 0; cell < head; cell++) publishCell(cell);
    return timeline;
  };
  timeline = await begin();

  let isPaused = false;
  const running = (async () => {
    while (!stop.signal.aborted) {
      const dueMs = startMs + (cell + 1) * cellMs - performance.now();
      await delay(Math.max(1, dueMs), undefined, { signal: stop.signal }).catch(() => undefined);
      if (!stop.signal.aborted && !isPaused) publishCell(cell++);
    }
  })();
  const beating = (async () => {
    while (!stop.signal.aborted) {
      await client.heartbeat(grant.sessionId, {}, stop.signal).catch(() => undefined);
      await delay(1_000, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  const halt = async (): Promise<void> => {
    stop.abort();
    await Promise.all([running, beating]);
    await publisher.close();
  };
  return {
    grant,
    get timeline() {
      return timeline;
    },
    fatal: () => fatal,
    cells: () => cell,
    restart: async () => {
      isPaused = true;
      await publisher.drain(2_000);
      const begun = await begin();
      isPaused = false;
      return begun;
    },
    end: async () => {
      await publisher.drain(2_000);
      await client.end(grant.streamId, {
        sessionId: grant.sessionId,
        fencingToken: grant.fencingToken,
        reason: 'unpublished',
      });
      await halt();
      await client.close();
    },
    vanish: async () => {
      await halt();
      await client.close();
    },
  };
}
