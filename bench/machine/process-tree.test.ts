import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { processTree, readProcess } from '#bench/machine/process-tree.ts';

it('finds children and grandchildren, and forgets them when they have ended', async () => {
  const script =
    "const c=require('node:child_process').spawn(process.execPath,['-e','setInterval(()=>{},1e3)']);" +
    "c.once('spawn',()=>console.log(c.pid));process.once('SIGTERM',()=>{c.kill();c.once('exit',()=>process.exit())})";
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const grandchildPid = Number(line.toString());
  const tree = processTree(process.pid);
  expect(tree[0]?.pid).toBe(process.pid);
  expect(tree.find(({ pid }) => pid === grandchildPid)?.parentPid).toBe(child.pid);
  expect(readProcess(process.pid)?.cpuMs).toBeGreaterThan(0);
  expect(readProcess(process.pid)?.residentBytes).toBeGreaterThan(1_000_000);
  child.kill();
  await once(child, 'exit');
  expect(processTree(child.pid ?? 0)).toEqual([]);
  expect(processTree(grandchildPid)).toEqual([]);
});
