import type { Load } from '#bench/origin/load.ts';
import { untilHeld, type HoldingSubject, type Subject } from '#bench/origin/subjects.ts';

/** One release of many held requests. */
export type ReleaseRun = {
  readonly server: string;
  readonly held: number;
  /** From the upload being sent to the last byte of the last answer. */
  readonly lastByteMs: number;
  /** The slowest of the other requests meanwhile. */
  readonly othersMaxMs: number;
  /** CPU time of the server per request, from taking it to having answered it. */
  readonly cpuUsPerRequest: number;
  /** CPU time of the load process between the upload and the last byte, per request. */
  readonly loadCpuUsPerRequest: number;
  /** Resident memory per held request, its connection included; only where it was asked for. */
  readonly bytesPerHeld?: number;
};

/** CPU time per answer that is not held. */
export type AnswerRun = {
  readonly server: string;
  readonly what: 'playlist' | 'part';
  readonly answers: number;
  readonly perSecond: number;
  readonly cpuUsPerAnswer: number;
};

const PROBES = 5;
const ANSWER_CONNECTIONS = 50;
const base64 = (request: Buffer): string => request.toString('base64');

/** @param memory whether to measure it too; the server should be fresh then */
export async function measureRelease(
  load: Load,
  subject: HoldingSubject,
  held: number,
  memory = false,
): Promise<ReleaseRun> {
  const { server } = subject;
  const { port } = server;
  const emptyBytes = memory ? await server.residentBytes() : 0;
  await load.run({ do: 'open', port, connections: held });
  const next = subject.nextHold();
  const cpuUs = server.cpuUs();
  await load.run({ do: 'hold', request: base64(next.held) });
  await untilHeld(subject, held);
  const takenUs = server.cpuUs();
  const heldBytes = memory ? await server.residentBytes() : 0;
  const releaseUs = server.cpuUs();
  const result = await load.run({
    do: 'release',
    port,
    release: base64(next.release),
    probe: base64(subject.playlist),
    probes: PROBES,
  });
  const usedUs = takenUs - cpuUs + (server.cpuUs() - releaseUs);
  await load.run({ do: 'close' });
  return {
    server: server.name,
    held,
    lastByteMs: Math.max(...result.answeredMs),
    othersMaxMs: Math.max(0, ...result.probeMs),
    cpuUsPerRequest: usedUs / held,
    loadCpuUsPerRequest: result.cpuUs / held,
    ...(memory ? { bytesPerHeld: (heldBytes - emptyBytes) / held } : {}),
  };
}

export async function measureAnswers(
  load: Load,
  subject: Subject,
  what: 'playlist' | 'part',
  seconds: number,
): Promise<AnswerRun> {
  const { server } = subject;
  const cpuUs = server.cpuUs();
  const request = base64(subject[what]);
  const result = await load.run({
    do: 'sustained',
    port: server.port,
    request,
    connections: ANSWER_CONNECTIONS,
    seconds,
  });
  return {
    server: server.name,
    what,
    answers: result.answers,
    perSecond: result.answers / seconds,
    cpuUsPerAnswer: (server.cpuUs() - cpuUs) / result.answers,
  };
}

/** What is left when many clients have gone away while they were held. */
export type AbortRun = {
  readonly aborted: number;
  readonly heldAfter: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
};

/** @param batch connections at a time; as many are aborted once before the memory is looked at */
export async function measureAborts(
  load: Load,
  subject: HoldingSubject,
  total: number,
  batch: number,
): Promise<AbortRun> {
  const { server } = subject;
  const { held } = subject.nextHold();
  const abort = async (): Promise<void> => {
    await load.run({ do: 'abort', port: server.port, request: base64(held), connections: batch });
    await untilHeld(subject, 0);
  };
  await abort();
  const bytesBefore = await server.residentBytes();
  let aborted = 0;
  for (; aborted < total; aborted += batch) await abort();
  const bytesAfter = await server.residentBytes();
  return { aborted, heldAfter: await subject.heldCount(), bytesBefore, bytesAfter };
}
