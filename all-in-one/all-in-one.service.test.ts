import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, readdir, rm, stat, symlink } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isInstalled } from '#cdn/cdn-process.ts';
import { readProcess } from '#bench/machine/process-tree.ts';
import { descendants } from '#tests/support/process-tree.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';

const ROOT = join(import.meta.dirname, '..');
const END_DEADLINE_MS = 10_000;

/** `npm start` as a child, with what it has printed. */
type Start = {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  stdout(): string;
  stderr(): string;
};

describe('npm start', () => {
  let folder: string;
  const starts: Start[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'all-in-one-'));
  });
  afterEach(async () => {
    for (const { child, exited } of starts.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        for (const { pid } of descendants(child.pid ?? 0)) process.kill(pid, 'SIGKILL');
        child.kill('SIGKILL');
      }
      await exited;
    }
    await rm(folder, { recursive: true, force: true });
  });

  function run(
    args: readonly string[],
    env: Record<string, string> = {},
    command = [process.execPath, 'all-in-one/main.ts'],
    cwd = ROOT,
  ): Start {
    const [file = '', ...first] = command;
    const child = spawn(file, [...first, ...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      // In a process group of its own, like the job of a shell.
      detached: true,
      env: {
        ...process.env,
        RTMP_PORT: '0',
        ORIGIN_PORT: '0',
        TRANSCODER_PORT: '0',
        STEERING_PORT: '0',
        EDGE_PORT: '0',
        LOCAL_CDN_PORTS: '0,0',
        DATA_DIR: join(folder, 'data'),
        ...env,
      },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
    const exited = once(child, 'exit').then(([status]) => status as number | null);
    const start = { child, exited, stdout: () => stdout, stderr: () => stderr };
    starts.push(start);
    return start;
  }

  async function printed(start: Start, pattern: RegExp): Promise<string> {
    const found = (): string | undefined => pattern.exec(start.stdout())?.[1];
    const ended = (): boolean => start.child.exitCode !== null;
    try {
      await waitFor(String(pattern), () => found() !== undefined || ended(), { deadlineMs: 45_000 });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${start.stdout()}${start.stderr()}`, { cause: error });
    }
    const text = found();
    if (text === undefined) throw new Error(`ended without ${String(pattern)}:\n${start.stderr()}`);
    return text;
  }
  const originUrl = (start: Start): Promise<string> => printed(start, /Watch +(http:\/\/[\d.]+:\d+)\//);
  const ready = (start: Start): Promise<string> => printed(start, /(Ctrl-C ends everything)/);
  const endsWithin = (start: Start): Promise<number | null> =>
    within('the end of everything', END_DEADLINE_MS, start.exited);

  /** Names of those of the processes that are still there a moment later. */
  async function survivors(processes: readonly { pid: number; commandLine: string }[]): Promise<string[]> {
    const alive = (): string[] =>
      processes
        .filter(({ pid, commandLine }) => {
          const now = readProcess(pid);
          return now !== undefined && !now.zombie && now.commandLine === commandLine;
        })
        .map(({ commandLine }) => commandLine);
    await waitFor('every process to end', () => alive().length === 0, { deadlineMs: 3_000 }).catch(
      () => undefined,
    );
    return alive();
  }

  it('prints where everything is, and everything is there', async () => {
    const start = run([]);
    const url = await originUrl(start);
    await ready(start);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await (await fetch(url)).text()).toContain('<video');
    const steering = await printed(start, /CDN console +(http:\/\/[\d.]+:\d+)\/console\//);
    expect((await fetch(`${steering}/readyz`)).status).toBe(200);
    expect((await fetch(`${steering}/console/`)).status).toBe(200);
    const adminToken = await printed(start, /Admin token +(\S+)/);
    const streams = await fetch(`${url}/api/v1/streams`, {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    expect(await streams.json()).toMatchObject({ streams: [{ id: 'demo', status: 'offline' }] });
    const rtmpPort = Number(await printed(start, /RTMP server +rtmp:\/\/127\.0\.0\.1:(\d+)\/app/));
    expect(rtmpPort).toBeGreaterThan(0);
    expect(start.stderr()).toBe('');
  });

  it.skipIf(!isInstalled('nginx'))(
    'brings two CDNs that steering finds healthy, and takes them along',
    async () => {
      const start = run(['--demo']);
      const urls = (await printed(start, /Local CDNs +(.*)/))
        .split(' ')
        .filter((word) => word.startsWith('http'));
      const steering = await printed(start, /CDN console +(http:\/\/[\d.]+:\d+)\/console\//);
      const adminToken = await printed(start, /Admin token +(\S+)/);
      expect(urls.length).toBe(2);
      await printed(start, /(On air: )/);
      for (const url of urls) expect((await fetch(`${url}/live/demo/master.m3u8`)).status).toBe(200);
      const known = async (): Promise<{ cdns: { name: string; baseUrl: string }[] }> => {
        const answer = await fetch(`${steering}/api/v1/cdns`, {
          headers: { authorization: `Bearer ${adminToken}` },
        });
        return (await answer.json()) as { cdns: { name: string; baseUrl: string }[] };
      };
      expect((await known()).cdns.map(({ name, baseUrl }) => [name, baseUrl])).toEqual([
        ['local-a', urls[0]],
        ['local-b', urls[1]],
      ]);
      await waitFor(
        'steering to name both CDNs to a player',
        async () => {
          const answer = await fetch(`${steering}/steering/v1/demo`);
          const { 'PATHWAY-PRIORITY': order } = (await answer.json()) as { 'PATHWAY-PRIORITY': string[] };
          return order.includes('local-a') && order.includes('local-b');
        },
        { deadlineMs: 20_000 },
      );
      const caches = descendants(start.child.pid ?? 0, /nginx/);
      expect(caches.length).toBeGreaterThanOrEqual(2);
      start.child.kill('SIGINT');
      expect(await endsWithin(start)).toBe(0);
      expect(await survivors(caches)).toEqual([]);

      // The next start has them on other ports; one without them leaves none in the answers.
      const again = run([], { LOCAL_CDN_PORTS: '0' });
      await ready(again);
      const said = await printed(again, /Local CDNs +(.*)/);
      expect(said.split(' ').filter((word) => word.startsWith('http')).length).toBe(1);
    },
  );

  it('publishes a test picture with --demo, keeps its key out of arguments, and ends it all on Ctrl-C', async () => {
    const start = run(['--demo']);
    const url = await originUrl(start);
    const streamKey = await printed(start, /Stream key +(\S+)/);
    await printed(start, /(On air: )/);
    const master = await (await fetch(`${url}/live/demo/master.m3u8`)).text();
    const rendition = /^(\S+\/index\.m3u8)$/m.exec(master)?.[1] ?? '';
    expect(master).toContain('RESOLUTION=1280x720');
    const media = await (await fetch(`${url}/live/demo/${rendition}`)).text();
    expect(media).toContain('#EXT-X-PART:');

    const processes = descendants(start.child.pid ?? 0);
    const commandLines = processes.map(({ commandLine }) => commandLine);
    expect(commandLines.filter((line) => /^\S*ffmpeg /.test(line)).length).toBeGreaterThanOrEqual(2);
    expect(commandLines.some((line) => line.includes('postgres'))).toBe(true);
    expect(commandLines.filter((line) => line.includes(streamKey))).toEqual([]);

    start.child.kill('SIGINT');
    expect(await endsWithin(start)).toBe(0);
    expect(start.stdout()).toMatch(/Stopped\.\n$/);
    expect(await survivors(processes)).toEqual([]);
    expect(await readdir(join(folder, 'data'))).not.toContain('demo-publisher.ffpreset');
  });

  it('starts the test picture again when its ffmpeg dies', async () => {
    const start = run(['--demo']);
    await printed(start, /(On air: )/);
    const publisher = (): number | undefined =>
      descendants(start.child.pid ?? 0, /^ffmpeg .*demo-publisher\.ffpreset/)[0]?.pid;
    const first = publisher() ?? 0;
    process.kill(first, 'SIGKILL');
    const second = await waitFor('another ffmpeg', () => {
      const pid = publisher();
      return pid === undefined || pid === first ? undefined : pid;
    });
    expect(second).not.toBe(first);
    expect(start.stderr()).toContain('the demo publisher ended');
  });

  it('ends when the whole process group gets Ctrl-C, as in a terminal, under npm', async () => {
    const start = run(['--', '--demo'], {}, ['npm', 'start', '--silent']);
    await printed(start, /(On air: )/);
    const processes = descendants(start.child.pid ?? 0);
    process.kill(-(start.child.pid ?? 0), 'SIGINT');
    await endsWithin(start);
    await waitFor('its last words', () => start.stdout().includes('Stopped.'));
    expect(await survivors(processes)).toEqual([]);
  });

  it.for(['SIGINT', 'SIGTERM'] as const)('ends when npm alone gets %s', async (signal) => {
    const start = run([], {}, ['npm', 'start', '--silent']);
    await ready(start);
    const processes = descendants(start.child.pid ?? 0);
    start.child.kill(signal);
    await endsWithin(start);
    // npm itself may leave before the services have closed.
    await waitFor('its last words', () => start.stdout().includes('Stopped.'));
    expect(await survivors(processes)).toEqual([]);
  });

  it('leaves at once on a second Ctrl-C', async () => {
    const start = run(['--demo']);
    await printed(start, /(On air: )/);
    const processes = descendants(start.child.pid ?? 0);
    start.child.kill('SIGINT');
    await printed(start, /(Stopping…)/);
    // One press can arrive twice (from the terminal and from npm), so only a later one counts as the second.
    const pressing = setInterval(() => start.child.kill('SIGINT'), 100);
    await within('leaving at once', 2_000, start.exited).finally(() => clearInterval(pressing));
    expect(await survivors(processes)).toEqual([]);
  });

  it('can be interrupted while it starts', async () => {
    const start = run([]);
    const processes = await waitFor('its first child', () => {
      const found = descendants(start.child.pid ?? 0);
      return found.length > 0 ? found : undefined;
    });
    start.child.kill('SIGTERM');
    expect(await endsWithin(start)).toBe(0);
    expect(await survivors(processes)).toEqual([]);
  });

  it('keeps the admin token, the stream key and the streams over a restart', async () => {
    const first = run([]);
    await ready(first);
    const adminToken = await printed(first, /Admin token +(\S+)/);
    const streamKey = await printed(first, /Stream key +(\S+)/);
    const created = await fetch(`${await originUrl(first)}/api/v1/streams`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
      body: '{"id":"kept"}',
    });
    expect(created.status).toBe(201);
    first.child.kill('SIGINT');
    await endsWithin(first);

    const second = run([]);
    await ready(second);
    expect(await printed(second, /Admin token +(\S+)/)).toBe(adminToken);
    expect(await printed(second, /Stream key +(\S+)/)).toBe(streamKey);
    const kept = await fetch(`${await originUrl(second)}/api/v1/streams/kept`, {
      headers: { authorization: `Bearer ${adminToken}` },
    });
    expect(kept.status).toBe(200);
    expect((await stat(join(folder, 'data', 'secrets.json'))).mode & 0o077).toBe(0);
  });

  it('takes the admin token from the environment and then keeps none of its children in the know', async () => {
    const start = run([], { ADMIN_TOKEN: 'a-token-of-my-own' });
    await ready(start);
    expect(await printed(start, /Admin token +(a-token-of-my-own) /)).toBeTruthy();
    const environments = await Promise.all(
      descendants(start.child.pid ?? 0).map(({ pid }) => readEnvironment(pid)),
    );
    expect(environments.length).toBeGreaterThan(0);
    expect(environments.filter((text) => text.includes('a-token-of-my-own'))).toEqual([]);
  });

  it('says in one line each which ports are taken, and leaves nothing running', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const port = String((server.address() as AddressInfo).port);
    const start = run([], { ORIGIN_PORT: port });
    expect(await endsWithin(start)).toBe(1);
    server.close();
    expect(start.stdout()).toBe('');
    expect(start.stderr()).toMatch(new RegExp(`^ORIGIN_PORT: port ${port} is taken by another program.*\n$`));
    expect(descendants(start.child.pid ?? 0)).toEqual([]);
  });

  it('lists all that is wrong with the settings of all services at once, and writes nothing', async () => {
    const start = run([], {
      ORIGIN_PORT: 'eighty',
      RTMP_PORT: '-1',
      TRANSCODER_PRESET: 'slowest',
      ORIGIN_PROT: '8080',
      ADMIN_TOKEN: 'short',
      LOG_LEVEL: 'loud',
    });
    expect(await endsWithin(start)).toBe(1);
    const lines = start.stderr().trimEnd().split('\n');
    expect(lines[0]).toBe('the settings have 6 problem(s):');
    for (const name of ['ORIGIN_PORT', 'RTMP_PORT', 'TRANSCODER_PRESET', 'ADMIN_TOKEN', 'LOG_LEVEL'])
      expect(lines.filter((line) => line.startsWith(`  ${name}: `))).toHaveLength(1);
    expect(lines.filter((line) => line.startsWith('  ORIGIN_PROT: '))).toEqual([
      '  ORIGIN_PROT: is not a setting of this service; did you mean ORIGIN_PORT?',
    ]);
    expect(start.stderr()).not.toContain('short');
    expect(await readdir(folder)).toEqual([]);
  });

  it('explains itself, and refuses what it does not know', async () => {
    const help = run(['--help']);
    expect(await endsWithin(help)).toBe(0);
    expect(help.stdout()).toContain('--demo');
    const unknown = run(['--dmeo']);
    expect(await endsWithin(unknown)).toBe(1);
    expect(unknown.stderr()).toBe('unknown argument --dmeo; npm start -- --help lists what there is\n');
  });

  it('works from a checkout with blanks and umlauts in its path', async () => {
    const checkout = join(folder, 'ein Ordner für alles');
    for (const part of [
      'all-in-one',
      'cdn',
      'edge-worker',
      'origin',
      'transcoder',
      'steering',
      'protocol',
      'runtime',
    ])
      await cp(join(ROOT, part), join(checkout, part), { recursive: true });
    await cp(join(ROOT, 'package.json'), join(checkout, 'package.json'));
    await symlink(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
    const start = run(
      ['--demo'],
      { DATA_DIR: './my data' },
      [process.execPath, 'all-in-one/main.ts'],
      checkout,
    );
    const url = await originUrl(start);
    await printed(start, /(On air: )/);
    expect((await fetch(url)).status).toBe(200);
    expect(await readdir(join(checkout, 'my data'))).toContain('secrets.json');
    start.child.kill('SIGINT');
    expect(await endsWithin(start)).toBe(0);
  });
});

async function readEnvironment(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
}
