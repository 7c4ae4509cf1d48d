import { readFileSync, readdirSync } from 'node:fs';

type Child = { readonly pid: number; readonly name: string };

/**
 * Ends every process below this one at once, for a second Ctrl-C. PostgreSQL is told to stop immediately and ends its
 * own children; killed outright it would leave shared memory behind. Linux only, elsewhere it does nothing.
 */
export function endDescendants(): void {
  const byParent = readChildren();
  const end = (parentPid: number): void => {
    for (const { pid, name } of byParent.get(parentPid) ?? []) {
      if (name === 'postgres') {
        signal(pid, 'SIGQUIT');
        continue;
      }
      end(pid);
      signal(pid, 'SIGKILL');
    }
  };
  end(process.pid);
}

function readChildren(): Map<number, Child[]> {
  const byParent = new Map<number, Child[]>();
  for (const entry of listProcesses()) {
    const stat = readStat(entry);
    if (stat === undefined) continue;
    // `pid (name) state parent …`; the name may hold blanks and brackets.
    const nameEnd = stat.lastIndexOf(')');
    const parentPid = Number(stat.slice(nameEnd + 2).split(' ')[1]);
    const child = { pid: Number(entry), name: stat.slice(stat.indexOf('(') + 1, nameEnd) };
    byParent.set(parentPid, [...(byParent.get(parentPid) ?? []), child]);
  }
  return byParent;
}

function listProcesses(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
}

function readStat(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    // It ended between the listing and the look: nothing left to end.
    return undefined;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // Gone already, or another user's (the database's launcher): either way there is nobody to tell any more.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}
