import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { readCdnSettings } from '#cdn/settings.ts';
import { readEdgeNodeSettings } from '#edge-worker/node/edge-node-settings.ts';
import { readOriginSettings } from '#origin/settings.ts';
import { readSteeringSettings } from '#steering/settings.ts';
import { readYaml } from '#tests/support/yaml-values.ts';
import { readTranscoderSettings } from '#transcoder/settings.ts';

const root = join(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8');

const Condition = z.object({
  condition: z.enum(['service_healthy', 'service_completed_successfully']),
});
const Service = z.object({
  image: z.string(),
  build: z.string().optional(),
  command: z.array(z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), Condition).default({}),
  restart: z.string(),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  deploy: z.object({ resources: z.object({ limits: z.object({ cpus: z.string(), memory: z.string() }) }) }),
});
const Compose = z.object({
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.null()),
});
const compose = Compose.parse(readYaml(text));
const services = Object.entries(compose.services);
const ours = services.filter(([, { image }]) => image === 'livehls');

/** Values of the right form for what the person who starts it has to fill in. */
const KEY = `k1:${Buffer.alloc(32, 1).toString('base64url')}`;
const SECRETS: Readonly<Record<string, string>> = {
  ADMIN_TOKEN: 'a'.repeat(48),
  INGEST_TOKEN: 'b'.repeat(48),
  ORIGIN_KEY_PEPPER: 'c'.repeat(64),
  ORIGIN_PULL_TOKEN: 'f'.repeat(48),
  ACCESS_TOKEN_KEYS: KEY,
  STEERING_TOKEN_KEYS: `1:${Buffer.alloc(32, 2).toString('base64url')}`,
  POSTGRES_PASSWORD: 'd'.repeat(48),
  S3_ACCESS_KEY_ID: 'store',
  S3_SECRET_ACCESS_KEY: 'e'.repeat(48),
};

/** @spec compose-spec, interpolation */
function interpolate(value: string): string {
  return value.replaceAll(
    /\$\{(\w+)(:\?|:-)?([^}]*)\}/g,
    (_, name: string, operator: string, rest: string) => {
      const given = SECRETS[name];
      if (given !== undefined) return given;
      if (operator === ':-') return rest;
      throw new Error(`${name} is neither given nor has it a default`);
    },
  );
}

type Environment = Readonly<Record<string, string>>;

/** By entry point: how its settings are read, and which of them are ports. */
const READERS: Readonly<Record<string, (env: Environment) => readonly number[]>> = {
  'origin/main.ts': (env) => [readOriginSettings(env).ORIGIN_PORT],
  'transcoder/main.ts': (env) => {
    const { RTMP_PORT, TRANSCODER_PORT } = readTranscoderSettings(env);
    return [RTMP_PORT, TRANSCODER_PORT];
  },
  'steering/main.ts': (env) => [readSteeringSettings(env).STEERING_PORT],
  'edge-worker/node/main.ts': (env) => [readEdgeNodeSettings(env).EDGE_PORT],
  'cdn/main.ts': (env) => [readCdnSettings(env).CDN_PORT],
  'cdn/register.ts': () => [],
};

const environmentOf = (env: Environment): Environment =>
  Object.fromEntries(Object.entries(env).map(([name, value]) => [name, interpolate(value)]));

describe('docker-compose.yml', () => {
  it('has every service of the system, and those it needs', () => {
    const commands = ours.map(([, { command = [] }]) => command[1]);
    const count = (file: string): number => commands.filter((command) => command === file).length;
    expect(count('origin/main.ts')).toBe(2);
    expect(count('transcoder/main.ts')).toBe(2);
    expect(count('steering/main.ts')).toBe(1);
    expect(count('edge-worker/node/main.ts')).toBe(1);
    const kinds = ours.flatMap(([, { environment }]) => environment['CDN_KIND'] ?? []);
    expect(kinds).toEqual(['nginx', 'varnish']);
    expect(services.filter(([name]) => /^redis-\d$/.test(name)).length).toBe(6);
    expect(Object.keys(compose.services)).toEqual(expect.arrayContaining(['postgres', 'minio']));
  });

  it.each(ours)('%s runs a file that exists, with settings that it takes', (name, service) => {
    const [program, file = ''] = service.command ?? [];
    expect(program).toBe('node');
    expect(existsSync(join(root, file))).toBe(true);
    const read = READERS[file];
    if (read === undefined) throw new Error(`the test does not know the settings of ${file}`);
    const listening = read(environmentOf(service.environment));
    for (const mapping of service.ports) expect(listening).toContain(Number(mapping.split(':').at(-1)));
    const checked = [...(service.healthcheck?.test.at(-1) ?? '').matchAll(/:(\d+)\//g)];
    for (const [, port] of checked) expect(listening).toContain(Number(port));
    expect(service.healthcheck !== undefined || name === 'cdn-registration').toBe(true);
  });

  it('reaches services by their names, at ports that they listen on', () => {
    const listening = new Map<string, readonly number[]>([
      ['postgres', [5432]],
      ['minio', [9000]],
      ['cdn-a.localhost', [8101]],
      ['cdn-b.localhost', [8102]],
      ...services.filter(([name]) => /^redis-\d$/.test(name)).map(([name]) => [name, [6379]] as const),
      ...ours.map(([name, { command = [], environment }]) => {
        return [name, READERS[command[1] ?? '']?.(environmentOf(environment)) ?? []] as const;
      }),
    ]);
    const spoken = ours.flatMap(([, { environment, command = [] }]) => [
      ...Object.values(environmentOf(environment)),
      ...command,
    ]);
    const inside = spoken
      .flatMap((value) => [...value.matchAll(/(?:\/\/|@|,|^)([a-z][\w.-]*):(\d+)/g)])
      .filter(([, host]) => host !== 'localhost');
    expect(inside.length).toBeGreaterThan(20);
    for (const [said, host = '', port] of inside)
      expect({ said, listens: listening.get(host)?.includes(Number(port)) }).toEqual({ said, listens: true });
  });

  it('opens no port of the host twice', () => {
    const opened = services.flatMap(([, { ports }]) => ports.map((mapping) => mapping.split(':').at(-2)));
    expect(new Set(opened).size).toBe(opened.length);
  });

  it('waits for what it needs in a state that this reaches', () => {
    for (const [name, { depends_on: needs }] of services)
      for (const [needed, { condition }] of Object.entries(needs)) {
        const other = compose.services[needed];
        const reachable =
          condition === 'service_healthy'
            ? other?.healthcheck !== undefined
            : other?.restart === 'on-failure';
        expect({ name, needed, reachable }).toEqual({ name, needed, reachable: true });
      }
  });

  it('mounts volumes that it declares', () => {
    const mounted = services.flatMap(([, { volumes }]) => volumes.map((volume) => volume.split(':')[0]));
    expect(new Set(mounted)).toEqual(new Set(Object.keys(compose.volumes)));
  });

  it('has no secret in it, and asks for each of them', () => {
    const example = readFileSync(join(root, 'compose.env.example'), 'utf8');
    const asked = [...text.matchAll(/\$\{(\w+):\?\}/g)].map(([, name]) => name ?? '');
    expect([...new Set(asked)].toSorted()).toEqual(Object.keys(SECRETS).toSorted());
    for (const name of asked) expect(example).toMatch(new RegExp(`^${name}=$`, 'm'));
    const secrets = services
      .flatMap(([, { environment }]) => Object.entries(environment))
      .filter(([name]) => /TOKEN|KEYS?$|PEPPER|PASSWORD|SECRET/.test(name));
    expect(secrets.length).toBeGreaterThan(10);
    for (const [, value] of secrets) expect(value).toMatch(/^\$\{\w+:\?\}$/);
  });

  it('is what `docker compose config` takes', (context) => {
    if (spawnSync('docker', ['compose', 'version']).status !== 0)
      context.skip('there is no docker client with the compose plugin here');
    execFileSync('docker', ['compose', 'config', '--quiet'], {
      cwd: root,
      env: { ...process.env, ...SECRETS },
    });
    expect(compose).toBeDefined();
  });
});
