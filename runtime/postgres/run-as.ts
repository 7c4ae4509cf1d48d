import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Who a child process runs as, and how it is started so that it can reach its files. */
export type RunAs = {
  /** undefined: as the user we are ourselves. */
  readonly identity: { readonly uid: number; readonly gid: number } | undefined;
  /** The capability that lets the child pass folders that are closed to its user; undefined when it needs none. */
  readonly capability: TraversalCapability | undefined;
  /** What to spawn to run `program` that way. */
  command(program: string, args: readonly string[]): SpawnCommand;
};

/** Arguments for `child_process.spawn`; `uid` and `gid` only where spawn itself is to change them. */
export type SpawnCommand = {
  readonly file: string;
  readonly args: string[];
  readonly user: { readonly uid?: number; readonly gid?: number };
};

/** The child's user cannot reach a folder and no capability is at hand that would let it. */
export class UnreachablePathError extends Error {
  readonly code = 'postgres_path_unreachable';
  override readonly name = 'UnreachablePathError';
}

/** Best first: reading and passing is enough; a container often has only the second. */
const TRAVERSAL_CAPABILITIES = { dac_read_search: 2, dac_override: 1 } as const;
export type TraversalCapability = keyof typeof TRAVERSAL_CAPABILITIES;

/** `nobody` on every Debian. */
const UNPRIVILEGED_ID = 65_534;
const SETPRIV = '/usr/bin/setpriv';

/** What {@link planRunAs} wants to know of this process and machine; tests say it themselves. */
export type ProcessFacts = {
  readonly uid: number;
  /** Bit mask of the effective capabilities. */
  readonly capabilities: bigint;
  readonly hasSetpriv: boolean;
};

export function readProcessFacts(): ProcessFacts {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  return {
    uid: process.geteuid?.() ?? UNPRIVILEGED_ID,
    capabilities: BigInt(`0x${mask}`),
    hasSetpriv: existsSync(SETPRIV),
  };
}

/**
 * Decides how to start a program that refuses to run as root. Another user than root stays who it is. Root becomes the
 * owner of the data folder or, when that is root itself, `nobody`; a capability then opens the way through folders that
 * only root may pass (a checkout in /root).
 *
 * @param ownerOf a path whose owner the data are to belong to
 * @param reach paths the child must be able to get to
 * @throws {UnreachablePathError} naming the folder in the way
 */
export function planRunAs(
  paths: { readonly ownerOf: string; readonly reach: readonly string[] },
  facts: ProcessFacts = readProcessFacts(),
): RunAs {
  // The child leaves when we are killed without being able to stop it (SIGINT is a fast shutdown to PostgreSQL).
  const options = facts.hasSetpriv ? ['--no-new-privs', '--pdeathsig', 'INT'] : [];
  if (facts.uid !== 0) return { identity: undefined, capability: undefined, command: through(options) };

  const owner = statSync(paths.ownerOf);
  const identity = {
    uid: owner.uid === 0 ? UNPRIVILEGED_ID : owner.uid,
    gid: owner.gid === 0 ? UNPRIVILEGED_ID : owner.gid,
  };
  const blocked = paths.reach.map((path) => closedFolder(path, identity)).find((path) => path !== undefined);
  const capability = blocked === undefined ? undefined : traversalCapability(facts);
  if (blocked !== undefined && capability === undefined)
    throw new UnreachablePathError(
      `PostgreSQL cannot run as root, and uid ${identity.uid} cannot get through ${blocked}; ` +
        'move the folder elsewhere, start as another user, or set DATABASE_URL to a server',
    );
  const { uid, gid } = identity;
  if (!facts.hasSetpriv)
    return {
      identity,
      capability,
      command: (program, args) => ({ file: program, args: [...args], user: identity }),
    };
  options.push('--reuid', String(uid), '--regid', String(gid), '--clear-groups');
  if (capability !== undefined) options.push(...withCapability(capability));
  return { identity, capability, command: through(options) };
}

/** The least capability of ours that lets a child through closed folders; undefined when we have none. */
export function traversalCapability(facts: ProcessFacts): TraversalCapability | undefined {
  if (!facts.hasSetpriv) return undefined;
  const names = Object.keys(TRAVERSAL_CAPABILITIES) as TraversalCapability[];
  return names.find((name) => (facts.capabilities >> BigInt(TRAVERSAL_CAPABILITIES[name])) % 2n === 1n);
}

/**
 * The capability stays over the change of user and the exec. Without the securebit access(2) would not count it, and
 * PostgreSQL's programs look for one another with access(2).
 */
function withCapability(capability: TraversalCapability): string[] {
  return [`--inh-caps=+${capability}`, `--ambient-caps=+${capability}`, '--securebits=+no_setuid_fixup'];
}

function through(options: readonly string[]): RunAs['command'] {
  return (program, args) =>
    options.length === 0
      ? { file: program, args: [...args], user: {} }
      : { file: SETPRIV, args: [...options, '--', program, ...args], user: {} };
}

/** The topmost folder on the way to `path`, itself included, that `identity` may not pass. */
function closedFolder(path: string, identity: { uid: number; gid: number }): string | undefined {
  const parent = dirname(path);
  const above = parent === path ? undefined : closedFolder(parent, identity);
  if (above !== undefined) return above;
  const entry = statSync(path, { throwIfNoEntry: false });
  if (entry === undefined || !entry.isDirectory()) return undefined;
  const shift = entry.uid === identity.uid ? 6 : entry.gid === identity.gid ? 3 : 0;
  return ((entry.mode >> shift) & 1) === 1 ? undefined : path;
}
