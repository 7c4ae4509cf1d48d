import { processTree, type ProcessInfo } from '#bench/machine/process-tree.ts';

/** Processes below `pid` (it not included) whose command line matches, e.g. every ffmpeg of a running system. */
export function descendants(pid: number, matching = /./): ProcessInfo[] {
  return processTree(pid).filter((process) => process.pid !== pid && matching.test(process.commandLine));
}
