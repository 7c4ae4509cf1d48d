import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planRunAs, traversalCapability } from '#runtime/postgres/run-as.ts';

const DAC_OVERRIDE = 1n << 1n;
const DAC_READ_SEARCH = 1n << 2n;
const root = { uid: 0, capabilities: DAC_OVERRIDE | DAC_READ_SEARCH, hasSetpriv: true };

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'livehls-run-as-')));
  chmodSync(folder, 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const closedFolder = (): string => {
  const path = join(folder, 'closed', 'inner');
  mkdirSync(path, { recursive: true });
  chmodSync(join(folder, 'closed'), 0o600);
  return path;
};

describe('planRunAs', () => {
  it('leaves an ordinary user as it is, and ties the child to our life', () => {
    const plan = planRunAs({ ownerOf: folder, reach: [folder] }, { ...root, uid: 1_000 });
    expect(plan.identity).toBeUndefined();
    const { args, user } = plan.command('/bin/x', ['-a']);
    expect(args.join(' ')).toBe('--no-new-privs --pdeathsig INT -- /bin/x -a');
    expect(user).toEqual({});
  });

  it('runs the program itself where there is no setpriv', () => {
    const plan = planRunAs({ ownerOf: folder, reach: [] }, { ...root, uid: 1_000, hasSetpriv: false });
    expect(plan.command('/bin/x', ['-a'])).toEqual({ file: '/bin/x', args: ['-a'], user: {} });
  });

  it('never runs anything as root or in its group', () => {
    const owner = statSync(folder);
    const { identity } = planRunAs({ ownerOf: folder, reach: [folder] }, root);
    expect(identity).toEqual({ uid: owner.uid || 65_534, gid: owner.gid || 65_534 });
  });

  it('lets spawn change the user where there is no setpriv', () => {
    const plan = planRunAs({ ownerOf: folder, reach: [folder] }, { ...root, hasSetpriv: false });
    expect(plan.command('/bin/x', []).user).toEqual(plan.identity);
  });

  it('takes no capability when the way is open', () => {
    const plan = planRunAs({ ownerOf: folder, reach: [folder] }, root);
    expect(plan.capability).toBeUndefined();
    expect(plan.command('/bin/x', []).args.join(' ')).not.toContain('cap');
  });

  it('takes the least capability that opens a closed way', () => {
    const reach = [closedFolder()];
    expect(planRunAs({ ownerOf: folder, reach }, root).capability).toBe('dac_read_search');
    const container = { ...root, capabilities: DAC_OVERRIDE };
    const plan = planRunAs({ ownerOf: folder, reach }, container);
    expect(plan.command('/bin/x', []).args).toContain('--ambient-caps=+dac_override');
  });

  it.each([
    ['without capabilities', { ...root, capabilities: 0n }],
    ['without setpriv', { ...root, hasSetpriv: false }],
  ])('names the closed folder when there is no way %s', (_, facts) => {
    const reach = [closedFolder()];
    const plan = (): unknown => planRunAs({ ownerOf: folder, reach }, facts);
    expect(plan).toThrow(expect.objectContaining({ code: 'postgres_path_unreachable' }));
    expect(plan).toThrow(join(folder, 'closed'));
  });
});

describe('traversalCapability', () => {
  it.each([
    [0n, undefined],
    [DAC_OVERRIDE, 'dac_override'],
    [DAC_OVERRIDE | DAC_READ_SEARCH, 'dac_read_search'],
    [~0n & 0xffffffffn & ~6n, undefined],
  ])('of the mask %s is %s', (capabilities, expected) => {
    expect(traversalCapability({ ...root, capabilities })).toBe(expected);
  });
});
