import { createAllInOne, type AllInOne } from '#all-in-one/service.ts';
import { HELP, readCommandLine } from '#all-in-one/command-line.ts';
import { endDescendants } from '#all-in-one/descendants.ts';
import { KeptSecrets } from '#all-in-one/kept-secrets.ts';
import {
  checkEnvironment,
  readAllInOneSettings,
  secretNames,
  type Environment,
} from '#all-in-one/settings.ts';
import { summaryText } from '#all-in-one/summary.ts';
import { systemClock } from '#runtime/clock.ts';
import { SHUTDOWN_DEADLINE_MS } from '#runtime/lifecycle.ts';

/** After everything is closed, how long a forgotten timer or socket may keep the process. */
const LINGER_MS = 500;
const INTERRUPTED_STATUS = 130;
/** Signals this soon after the first are the same key press: the terminal signals us, and npm passes its own copy on. */
const SAME_SIGNAL_MS = 300;

/**
 * The whole of `npm start`: reads arguments and environment, starts everything, prints the summary, and ends it all on
 * SIGINT or SIGTERM within {@link SHUTDOWN_DEADLINE_MS}; a second signal ends it at once. What a person can mend is printed
 * as a message without a stack and ends with status 1.
 */
export async function run(args: readonly string[], env: Environment): Promise<void> {
  const say = (text: string): void => void process.stdout.write(text);
  const signals = new Signals(say);
  try {
    const { help, demo } = readCommandLine(args);
    if (help) {
      say(HELP);
      return;
    }
    const system = await start(env, demo, say);
    await signals.first;
    await system.close();
    say('Stopped.\n');
  } catch (error) {
    process.stderr.write(`${readable(error)}\n`);
    process.exitCode = 1;
  } finally {
    signals.release();
  }
  setTimeout(() => process.exit(), LINGER_MS).unref();
}

async function start(env: Environment, demo: boolean, say: (text: string) => void): Promise<AllInOne> {
  const startedMs = performance.now();
  const secrets = await KeptSecrets.open(checkEnvironment(env));
  const settings = readAllInOneSettings(env, secrets);
  // Children inherit the environment: none of them needs a secret from there.
  for (const name of secretNames()) delete process.env[name];
  const system = await createAllInOne(settings, { demo, say }, { clock: systemClock });
  say(
    summaryText({
      ...system.addresses,
      adminToken: settings.origin.ADMIN_TOKEN,
      adminTokenFrom: env['ADMIN_TOKEN'] === undefined ? `kept in ${secrets.path}` : 'from ADMIN_TOKEN',
      demo,
      startedInMs: performance.now() - startedMs,
    }),
  );
  return system;
}

/** Waits for the first signal and takes care that nothing can keep us from leaving after it. */
class Signals {
  readonly first: Promise<void>;
  readonly #onSignal: () => void;
  #deadline: NodeJS.Timeout | undefined;
  #firstAtMs = 0;

  constructor(say: (text: string) => void) {
    let resolveFirst: () => void;
    this.first = new Promise((resolve) => (resolveFirst = resolve));
    this.#onSignal = () => {
      if (this.#deadline !== undefined) {
        if (performance.now() - this.#firstAtMs > SAME_SIGNAL_MS) leaveAtOnce(INTERRUPTED_STATUS);
        return;
      }
      this.#firstAtMs = performance.now();
      say('\nStopping… (Ctrl-C again leaves at once)\n');
      this.#deadline = setTimeout(() => leaveAtOnce(1), SHUTDOWN_DEADLINE_MS);
      resolveFirst();
    };
    process.on('SIGINT', this.#onSignal);
    process.on('SIGTERM', this.#onSignal);
  }

  release(): void {
    clearTimeout(this.#deadline);
    process.off('SIGINT', this.#onSignal);
    process.off('SIGTERM', this.#onSignal);
  }
}

function leaveAtOnce(status: number): never {
  endDescendants();
  process.exit(status);
}

/** Failures that a person can mend have a `code` and a message for a person; anything else is ours and needs its stack. */
function readable(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error ? error.message : (error.stack ?? error.message);
}
