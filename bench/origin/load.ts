import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadOrder, LoadResult } from '#bench/origin/load-process.ts';

const LOAD = fileURLToPath(new URL('load-process.ts', import.meta.url));

/** The load process on its core. */
export class Load {
  readonly #child: ChildProcess;

  constructor(core: number) {
    this.#child = spawn('taskset', ['-c', String(core), process.execPath, LOAD], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
  }

  /** @throws when the load process fails: an answer that is not 200, a reset, a deadline */
  run(order: LoadOrder): Promise<LoadResult> {
    return new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error(`the load process ended while it was to ${order.do}`));
      this.#child.once('exit', onExit);
      this.#child.once('message', (result: LoadResult) => {
        this.#child.off('exit', onExit);
        resolve(result);
      });
      this.#child.send(order);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}
