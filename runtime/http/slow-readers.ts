import type { Clock, Timer } from '#runtime/clock.ts';
import type { HttpMetrics } from '#runtime/http/http-metrics.ts';
import type { Socket } from 'node:net';
import type { NodeResponse } from '#runtime/http/server.ts';

export type SlowReaderLimits = {
  /** Bytes that a client takes in a second at least, in the mean over one answer. */
  readonly bytesPerSecondMin: number;
  /** Time that every answer has on top of that, however short it is. */
  readonly graceMs: number;
};

/** A client that is slower plays nothing that we serve. */
export const DEFAULT_SLOW_READER_LIMITS: SlowReaderLimits = { bytesPerSecondMin: 16 * 1024, graceMs: 10_000 };

const SWEEP_MS = 1_000;

/**
 * Closes the connections of clients that do not take their answers: each of them keeps a body in memory that the live
 * window has long forgotten.
 */
export class SlowReaders {
  readonly #limits: SlowReaderLimits;
  readonly #clock: Clock;
  readonly #metrics: HttpMetrics;
  readonly #deadlines = new Map<NodeResponse | Socket, number>();
  #sweep: Timer | undefined;

  constructor(limits: SlowReaderLimits, deps: { readonly clock: Clock; readonly metrics: HttpMetrics }) {
    this.#limits = limits;
    this.#clock = deps.clock;
    this.#metrics = deps.metrics;
  }

  /** Answers that are not out yet. */
  get count(): number {
    return this.#deadlines.size;
  }

  /** Call it when an answer of so many bytes has been ended. */
  watch(response: NodeResponse, bytes: number): void {
    const isOut = 'stream' in response ? response.stream.writableFinished : response.writableFinished;
    if (isOut || response.destroyed) return;
    this.#add(response, bytes);
    response.once('close', () => this.#forget(response));
  }

  /** Call it when so many bytes have been written to a bare socket. */
  watchSocket(socket: Socket, bytes: number): void {
    if (socket.writableLength === 0 || socket.destroyed) return;
    const isWatched = this.#deadlines.has(socket);
    this.#add(socket, bytes);
    if (isWatched) return;
    const forget = (): void => {
      socket.off('drain', forget);
      socket.off('close', forget);
      this.#forget(socket);
    };
    socket.on('drain', forget);
    socket.on('close', forget);
  }

  #add(reader: NodeResponse | Socket, bytes: number): void {
    const { bytesPerSecondMin, graceMs } = this.#limits;
    const deadlineMs = this.#clock.monotonicMs() + graceMs + (bytes * 1_000) / bytesPerSecondMin;
    this.#deadlines.set(reader, deadlineMs);
    this.#sweep ??= this.#clock.after(SWEEP_MS, () => this.#closeLate());
  }

  #forget(reader: NodeResponse | Socket): void {
    this.#deadlines.delete(reader);
    if (this.#deadlines.size > 0) return;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  #closeLate(): void {
    this.#sweep = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const [response, deadlineMs] of this.#deadlines) {
      if (deadlineMs > nowMs) continue;
      this.#metrics.slowReaders.inc();
      this.#deadlines.delete(response);
      response.destroy();
    }
    if (this.#deadlines.size > 0) this.#sweep = this.#clock.after(SWEEP_MS, () => this.#closeLate());
  }
}
