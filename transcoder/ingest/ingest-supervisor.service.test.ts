import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#runtime/clock.ts';
import { FLV_SAMPLES } from '#tests/support/flv-samples.ts';
import { PublishOrigin } from '#tests/support/publish-origin.ts';
import { RtmpClient } from '#tests/support/rtmp-client.ts';
import { waitFor, within } from '#tests/support/wait-for.ts';
import type { IncomingPublish, IngestPacket } from './incoming-publish.ts';
import { DEFAULT_INGEST_LIMITS, type IngestSettings } from './ingest-settings.ts';
import { IngestSupervisor } from './ingest-supervisor.ts';

const KEY = 'the-secret-key';
const { videoHeader, keyFrame, interFrame } = FLV_SAMPLES;

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
};
/** Directories of relays that there are now; each test has a directory for temporary files of its own. */
const relayDirectories = (): string[] =>
  readdirSync(tmpdir()).filter((name) => name.startsWith('ingest-relay-'));

describe('the supervisor of the RTMP ingest', () => {
  let directory: string;
  let log: FileHandle;
  let origin: PublishOrigin;
  let registry: Registry;
  let supervisor: IngestSupervisor;
  let parentLog: string;
  let publishes: IncomingPublish[];

  const settings = (): IngestSettings => ({
    rtmpPort: 0,
    rtmpHost: '127.0.0.1',
    originUrls: [origin.url],
    ingestToken: origin.token,
    limits: DEFAULT_INGEST_LIMITS,
  });
  const create = (nodeArguments: string[] = [], change: Partial<IngestSettings> = {}): IngestSupervisor => {
    const logger = pino({ level: 'debug' }, { write: (line: string) => (parentLog += line) });
    const deps = { clock: systemClock, logger, metrics: registry, standardError: log.fd, nodeArguments };
    const created = new IngestSupervisor({ ...settings(), ...change }, deps);
    created.onPublish((publish) => publishes.push(publish));
    return created;
  };
  const childLog = (): Promise<string> => readFile(join(directory, 'child.log'), 'utf8');
  const metric = async (line: string): Promise<boolean> =>
    (await registry.metrics()).split('\n').includes(line);
  const childPid = (): number => {
    const pid = supervisor.processId;
    if (pid === undefined) throw new Error('there is no ingest process');
    return pid;
  };
  const begin = async (port: number): Promise<RtmpClient> => {
    const client = await RtmpClient.published(port, KEY);
    client.video(0, videoHeader);
    client.video(0, keyFrame);
    return client;
  };

  const temporaryDirectory = process.env['TMPDIR'];
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'supervisor-test-'));
    process.env['TMPDIR'] = directory;
    log = await open(join(directory, 'child.log'), 'a');
    origin = await PublishOrigin.start([KEY]);
    registry = new Registry();
    parentLog = '';
    publishes = [];
  });
  afterEach(async () => {
    await supervisor.close();
    await origin.close();
    await log.close();
    if (temporaryDirectory === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = temporaryDirectory;
    await rm(directory, { recursive: true });
  });

  it('hands a publish on and reads its packets from the child', async () => {
    supervisor = create();
    const { rtmpPort } = await supervisor.start();
    expect(supervisor.ready).toBe(true);
    const client = await begin(rtmpPort);
    const publish = await waitFor('the publish', () => publishes[0]);
    const packets: IngestPacket[] = [];
    const reading = (async () => {
      for await (const packet of publish.packets(new AbortController().signal)) packets.push(packet);
    })();
    client.video(33, interFrame);
    await waitFor('the packets', () => packets.length === 3);
    client.command('deleteStream', null, 1);
    await within('the end of the packets', 5_000, reading);
    expect(await publish.ended).toBe('unpublished');
    await waitFor('the metrics', () => metric('ingest_publishes_ended_total{reason="unpublished"} 1'));
  });

  it('shows the key and the token to nobody', async () => {
    supervisor = create();
    const { rtmpPort } = await supervisor.start();
    const client = await begin(rtmpPort);
    await waitFor('the publish', () => publishes[0]);
    const refused = await RtmpClient.connected(rtmpPort);
    await refused.requestPublish('another-secret-key');
    await refused.closed();
    const [relay = ''] = relayDirectories();
    expect(statSync(join(tmpdir(), relay)).mode & 0o777).toBe(0o700);
    const seen = [
      readFileSync(`/proc/${childPid()}/cmdline`, 'utf8'),
      readFileSync(`/proc/${childPid()}/environ`, 'utf8'),
      await registry.metrics(),
      JSON.stringify(publishes),
      parentLog,
    ];
    client.close();
    await supervisor.close();
    seen.push(await childLog());
    expect(seen.at(-1)).toContain('publish started');
    for (const text of seen) {
      expect(text).not.toContain('secret-key');
      expect(text).not.toContain(origin.token);
    }
  });

  it('starts a child that was killed again, on the same port; its publishes are lost and their keys free', async () => {
    supervisor = create();
    const { rtmpPort } = await supervisor.start();
    const client = await begin(rtmpPort);
    const publish = await waitFor('the publish', () => publishes[0]);
    const packets = publish.packets(new AbortController().signal)[Symbol.asyncIterator]();
    await packets.next();
    const firstPid = childPid();
    process.kill(firstPid, 'SIGKILL');
    expect(await within('the end', 2_000, publish.ended)).toBe('lost');
    const drain = async (): Promise<void> => {
      for (let next = await packets.next(); next.done !== true; next = await packets.next());
    };
    await within('the end of the packets', 5_000, drain());
    await client.closed();
    const end = await waitFor('the report', () => origin.of(KEY)[0]?.end);
    expect(end.reason).toBe('lost');
    await waitFor('the new child', () => supervisor.ready);
    expect(childPid()).not.toBe(firstPid);
    const again = await begin(rtmpPort);
    await waitFor('the second publish', () => publishes[1]);
    again.close();
    await waitFor('the metrics', () => metric('ingest_process_exits_total{cause="killed"} 1'));
  });

  it('lets an error that nothing caught end the child, counts it and starts another', async () => {
    const trap = join(directory, 'trap.mjs');
    await writeFile(trap, `process.once('SIGUSR2', () => { throw new Error('nobody expected this'); });`);
    supervisor = create(['--import', trap]);
    await supervisor.start();
    const firstPid = childPid();
    process.kill(firstPid, 'SIGUSR2');
    await waitFor('the new child', () => supervisor.ready && supervisor.processId !== firstPid);
    expect(await metric('ingest_process_exits_total{cause="crashed"} 1')).toBe(true);
    expect(await metric('ingest_uncaught_errors_total 1')).toBe(true);
    expect(await childLog()).toContain('nobody expected this');
  });

  it('ends a child that hangs and starts another', async () => {
    supervisor = create();
    await supervisor.start();
    const firstPid = childPid();
    process.kill(firstPid, 'SIGSTOP');
    await waitFor('the new child', () => supervisor.ready && supervisor.processId !== firstPid, {
      deadlineMs: 20_000,
    });
    expect(isRunning(firstPid)).toBe(false);
    expect(await metric('ingest_process_exits_total{cause="stuck"} 1')).toBe(true);
  });

  it('says that the port is taken, and leaves nothing behind', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const rtmpPort = (taken.address() as AddressInfo).port;
    supervisor = create([], { rtmpPort });
    await expect(supervisor.start()).rejects.toMatchObject({
      code: 'listen_failed',
      message: expect.stringContaining('RTMP_PORT'),
    });
    expect(supervisor.ready).toBe(false);
    await new Promise((resolve) => taken.close(resolve));
    expect(relayDirectories()).toEqual([]);
  });

  it('stops: publishes end as lost, the origin knows, nothing is left', async () => {
    supervisor = create();
    const { rtmpPort } = await supervisor.start();
    const client = await begin(rtmpPort);
    const publish = await waitFor('the publish', () => publishes[0]);
    const pid = childPid();
    await within('the stop', 4_000, supervisor.close());
    expect(await publish.ended).toBe('lost');
    expect(origin.of(KEY)[0]?.end?.reason).toBe('lost');
    expect(isRunning(pid)).toBe(false);
    expect(relayDirectories()).toEqual([]);
    expect(supervisor.ready).toBe(false);
    await client.closed();
    await supervisor.close();
  });

  it('takes its child with it when it is killed itself', async () => {
    supervisor = create();
    const parent = join(directory, 'parent.mjs');
    const ready = join(directory, 'ready.json');
    const root = dirname(dirname(import.meta.dirname));
    await writeFile(
      parent,
      `import { writeFileSync } from 'node:fs';
       import { pino } from '${root}/node_modules/pino/pino.js';
       import { Registry } from '${root}/node_modules/prom-client/index.js';
       import { IngestSupervisor } from '${root}/transcoder/ingest/ingest-supervisor.ts';
       import { systemClock } from '${root}/runtime/clock.ts';
       const deps = { clock: systemClock, logger: pino({ level: 'silent' }), metrics: new Registry() };
       const supervisor = new IngestSupervisor(JSON.parse(process.argv[2]), deps);
       const { rtmpPort } = await supervisor.start();
       writeFileSync('${ready}.new', JSON.stringify({ rtmpPort, pid: supervisor.processId }));
       (await import('node:fs')).renameSync('${ready}.new', '${ready}');`,
    );
    const process_ = spawn(process.execPath, [parent, JSON.stringify(settings())], { stdio: 'ignore' });
    await waitFor('the parent', () => existsSync(ready));
    const { pid, rtmpPort } = JSON.parse(readFileSync(ready, 'utf8')) as { pid: number; rtmpPort: number };
    const client = await begin(rtmpPort);
    process_.kill('SIGKILL');
    await waitFor('the end of the child', () => !isRunning(pid), { deadlineMs: 5_000 });
    expect(origin.of(KEY)[0]?.end?.reason).toBe('lost');
    expect(relayDirectories()).toEqual([]);
    await client.closed();
  });

  it.each(['INT', 'TERM'])('is left running by a SIG%s that its whole process group gets', async (signal) => {
    supervisor = create();
    await supervisor.start();
    const pid = childPid();
    execFileSync('kill', [`-${signal}`, String(pid)]);
    await waitFor('the next report', () => metric('ingest_up 1'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([isRunning(pid), supervisor.processId, supervisor.ready]).toEqual([true, pid, true]);
  });
});
