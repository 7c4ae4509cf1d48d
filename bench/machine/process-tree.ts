import { readFileSync, readdirSync } from 'node:fs';

/** A process as `/proc` describes it. */
export type ProcessInfo = {
  readonly pid: number;
  readonly parentPid: number;
  /** The kernel's short name, at most 15 characters. */
  readonly name: string;
  /** Arguments joined by spaces; empty for a zombie. */
  readonly commandLine: string;
  /** CPU time used so far, user and system together. */
  readonly cpuMs: number;
  readonly residentBytes: number;
  /** Dead but not yet reaped by its parent. */
  readonly zombie: boolean;
};

/** Linux fixes USER_HZ at 100 and the page at 4 KiB on every machine that we run on. */
const MS_PER_TICK = 10;
const PAGE_BYTES = 4_096;

/** One process, or `undefined` when there is none with this id (any more). */
export function readProcess(pid: number): ProcessInfo | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name stands in brackets and may itself hold brackets and blanks.
    const nameEnd = stat.lastIndexOf(')');
    const fields = stat.slice(nameEnd + 2).split(' ');
    return {
      pid,
      name: stat.slice(stat.indexOf('(') + 1, nameEnd),
      zombie: fields[0] === 'Z',
      parentPid: Number(fields[1]),
      cpuMs: (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK,
      residentBytes: Number(fields[21]) * PAGE_BYTES,
      commandLine: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
    };
  } catch (error) {
    // It ended between two reads; to the caller that is the same as never having been there.
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** Every process below `rootPid`, the root first, then by generation. Zombies are left out: nothing of them runs. */
export function processTree(rootPid: number): ProcessInfo[] {
  const children = new Map<number, ProcessInfo[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const info = readProcess(Number(entry));
    if (info === undefined || info.zombie) continue;
    const siblings = children.get(info.parentPid);
    if (siblings === undefined) children.set(info.parentPid, [info]);
    else siblings.push(info);
  }
  const root = readProcess(rootPid);
  if (root === undefined || root.zombie) return [];
  const tree = [root];
  for (let next = 0; next < tree.length; next++) tree.push(...(children.get(tree[next]?.pid ?? -1) ?? []));
  return tree;
}
