/** `npm run bench -- <what> [options]`: the measurements of the system, each a module with a `run(args)`. */
type Bench = {
  readonly summary: string;
  readonly load: () => Promise<{ run(args: string[]): Promise<void> }>;
};

const benches: Readonly<Record<string, Bench>> = {
  latency: {
    summary: 'glass to screen, ingest to origin, start-up, stalls and CPU per stage',
    load: () => import('#bench/latency/latency.ts'),
  },
  origin: {
    summary:
      'thousands of held requests released, CPU per answer, memory per wait, beside node:http and nginx',
    load: () => import('#bench/origin/origin.ts'),
  },
  edge: {
    summary: 'CPU per session playlist and per coalesced waiter, requests that reach the origin',
    load: () => import('#bench/edge/edge.ts'),
  },
  steering: {
    summary: 'answers per second of one core, latency at half of that, decision cost, memory, crowds',
    load: () => import('#bench/steering/steering.ts'),
  },
};

const [name = '', ...args] = process.argv.slice(2);
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) {
  const list = Object.entries(benches).map(([known, { summary }]) => `  ${known.padEnd(12)}${summary}`);
  process.stderr.write(`usage: npm run bench -- <what> [options]\n${list.join('\n')}\n`);
  process.exitCode = 2;
} else {
  const loaded = await bench.load();
  await loaded.run(args);
}
