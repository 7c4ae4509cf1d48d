import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine, machineCpuTicks } from '#bench/machine/machine.ts';
import { Load } from '#bench/origin/load.ts';
import { MadeUpBroadcast } from '#bench/origin/made-up-broadcast.ts';
import { startOrigin, type MeasuredOrigin } from '#bench/origin/measured-origin.ts';
import {
  measureAborts,
  measureAnswers,
  measureRelease,
  type AnswerRun,
  type ReleaseRun,
} from '#bench/origin/measurements.ts';
import { startNginx } from '#bench/origin/nginx-static.ts';
import { originFigures, printFigures } from '#bench/origin/report.ts';
import { MEASURED_NODE, startServer, type ServerProcess } from '#bench/origin/server-process.ts';
import {
  bareSubject,
  getRequest,
  originSubject,
  type HoldingSubject,
  type Subject,
} from '#bench/origin/subjects.ts';

const SERVER_CORE = 0;
const LOAD_CORE = 1;
const BARE = fileURLToPath(new URL('bare-server.ts', import.meta.url));
const SEGMENTS = 14;
const WARM_UP_HELD = 1_000;
const ABORT_BATCH = 5_000;

const USAGE = `npm run bench -- origin [options]
  --rounds 5           of each comparison, in turns
  --seconds 4          length of each run of answers
  --held 1000,10000    requests that are held and released at once
  --aborts 100000      held requests whose clients go away
  --out bench/results`;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/**
 * `npm run bench -- origin`: what a part costs that thousands wait for, what answers cost that need no wait, and what is
 * left of those who went away; beside a bare node:http server and nginx in the same run.
 */
export async function run(args: string[]): Promise<void> {
  const options = readOptions(args);
  if (options === undefined) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const startedAt = new Date();
  const folder = await mkdtemp(join(tmpdir(), 'bench-origin-content-'));
  const load = new Load(LOAD_CORE);
  const ticks = machineCpuTicks();
  const opened: { stop(): unknown }[] = [load];
  try {
    const origin = await startOrigin(SERVER_CORE);
    opened.push(origin);
    const broadcast = await MadeUpBroadcast.begin(origin, SEGMENTS);
    opened.push({ stop: () => broadcast.end() });
    const ours = originSubject(origin, broadcast);
    const content = await saveContent(origin, broadcast, folder);
    const bareServer = await startBare(content);
    opened.push(bareServer);
    const bare = bareSubject(bareServer, content.uploadBytes);
    const nginx = await startNginx(SERVER_CORE, folder);
    if (nginx !== undefined) opened.push(nginx);

    const memory = await measureMemory(load, [ours, bare], Math.max(...options.held));
    const releases = await measureReleases(load, [ours, bare], options.held, options.rounds);
    const answers = await measureAllAnswers(
      load,
      [ours, bare, ...(nginx === undefined ? [] : [nginxSubject(nginx)])],
      options,
    );
    say(`aborting ${options.aborts} held requests`);
    const aborts = await measureAborts(load, ours, options.aborts, Math.min(ABORT_BATCH, options.aborts));
    const skipped = [
      ...(nginx === undefined ? ['nginx: not installed'] : []),
      'mediamtx: no binary on this machine',
      'origin requests per object behind CDNs, and several nodes: not measured here yet',
    ];
    const busy = machineCpuTicks();
    const machineBusyPercent = (100 * (busy.busy - ticks.busy)) / (busy.total - ticks.total);
    const result = { memory, releases, answers, aborts };
    const figures = originFigures(result);
    printFigures(figures, skipped, say);
    await mkdir(options.out, { recursive: true });
    const file = join(options.out, `origin-${startedAt.toISOString().slice(0, 16).replace(':', '')}.json`);
    await writeFile(
      file,
      `${JSON.stringify({ startedAt, options, machine: describeMachine(), machineBusyPercent, figures, skipped, ...result })}\n`,
    );
    say(`\nwritten to ${file}`);
  } finally {
    for (const entry of opened.toReversed()) await entry.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureMemory(
  load: Load,
  subjects: readonly HoldingSubject[],
  held: number,
): Promise<ReleaseRun[]> {
  const runs: ReleaseRun[] = [];
  for (const subject of subjects) {
    // What is loaded and compiled with the first requests is not to count against those who are held.
    await measureRelease(load, subject, WARM_UP_HELD);
    runs.push(await measureRelease(load, subject, held, true));
    say(
      `${subject.server.name}: ${((runs.at(-1)?.bytesPerHeld ?? 0) / 1_024).toFixed(1)} KB per held request`,
    );
  }
  return runs;
}

async function measureReleases(
  load: Load,
  subjects: readonly HoldingSubject[],
  counts: readonly number[],
  rounds: number,
): Promise<ReleaseRun[]> {
  const runs: ReleaseRun[] = [];
  for (const held of counts)
    for (let round = 0; round < rounds; round++)
      for (const subject of inTurn(subjects, round)) {
        const run = await measureRelease(load, subject, held);
        runs.push(run);
        say(
          `${run.server}: ${held} released in ${run.lastByteMs.toFixed(1)} ms, others at most ${run.othersMaxMs.toFixed(1)} ms, ` +
            `${run.cpuUsPerRequest.toFixed(1)} µs of CPU each (load ${run.loadCpuUsPerRequest.toFixed(1)})`,
        );
      }
  return runs;
}

async function measureAllAnswers(
  load: Load,
  subjects: readonly Subject[],
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<AnswerRun[]> {
  const runs: AnswerRun[] = [];
  for (const what of ['playlist', 'part'] as const)
    for (let round = 0; round < rounds; round++)
      for (const subject of inTurn(subjects, round)) {
        const run = await measureAnswers(load, subject, what, seconds);
        runs.push(run);
        say(
          `${run.server}: ${what} ${run.cpuUsPerAnswer.toFixed(2)} µs of CPU, ${run.perSecond.toFixed(0)} a second`,
        );
      }
  return runs;
}

/** Whoever comes second has the warmer machine, or the busier one. */
function inTurn<Item>(items: readonly Item[], round: number): readonly Item[] {
  return round % 2 === 0 ? items : items.toReversed();
}

type Content = {
  readonly uploadBytes: number;
  readonly playlist: { readonly file: string; readonly headers: Readonly<Record<string, string>> };
  readonly part: { readonly file: string; readonly headers: Readonly<Record<string, string>> };
};

/** What the origin answers now, for the others to answer the same. */
async function saveContent(
  origin: MeasuredOrigin,
  broadcast: MadeUpBroadcast,
  folder: string,
): Promise<Content> {
  const save = async (path: string, file: string) => {
    const message = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { 'accept-encoding': 'gzip' };
      get({ host: '127.0.0.1', port: origin.port, path, headers, agent: false }, resolve).on('error', reject);
    });
    const body = Buffer.concat(await message.toArray());
    if (message.statusCode !== 200) throw new Error(`${path} was answered ${message.statusCode}`);
    await writeFile(join(folder, file), body);
    const own = new Set(['date', 'connection', 'keep-alive', 'content-length']);
    const headers = Object.fromEntries(
      Object.entries(message.headers).flatMap(([name, value]) =>
        typeof value !== 'string' || own.has(name) ? [] : [[name, value]],
      ),
    );
    return { file: join(folder, file), headers, bytes: body.length };
  };
  const playlist = await save(broadcast.playlistPath, 'index.m3u8');
  const part = await save(broadcast.partPath, 'part.m4s');
  say(`a playlist has ${playlist.bytes} bytes in gzip, a part ${part.bytes}`);
  return { playlist, part, uploadBytes: part.bytes };
}

function startBare(content: Content): Promise<ServerProcess> {
  return startServer({
    name: 'bare node:http',
    core: SERVER_CORE,
    command: [...MEASURED_NODE, BARE, JSON.stringify(content)],
    ready: /listening on (\d+)/,
  });
}

function nginxSubject(server: ServerProcess): Subject {
  return { server, playlist: getRequest('/index.m3u8'), part: getRequest('/part.m4s') };
}

function readOptions(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '4' },
        held: { type: 'string', default: '1000,10000' },
        aborts: { type: 'string', default: '100000' },
        out: { type: 'string', default: 'bench/results' },
      },
    });
    const held = values.held.split(',').map(Number);
    const [rounds = 0, seconds = 0, aborts = 0] = [values.rounds, values.seconds, values.aborts].map(Number);
    const isCount = (count: number): boolean => Number.isInteger(count) && count > 0;
    if (![rounds, seconds, aborts, ...held].every(isCount)) return undefined;
    return { rounds, seconds, aborts, held, out: values.out };
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
