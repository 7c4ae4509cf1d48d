import { z } from 'zod';

/** One environment setting: how its text is checked, what it defaults to, and what the README says about it. */
export type Setting<Value> = {
  readonly parse: z.ZodType<Value, string>;
  /** Value used when the variable is not set; without one the variable is required. */
  readonly default?: Value;
  /** One sentence for the README's table of settings, with the unit. */
  readonly description: string;
  /** Never print the value of a secret. */
  readonly secret?: boolean;
};

/** A service's settings by environment variable name. */
export type SettingsSchema = Readonly<Record<string, Setting<unknown>>>;

/** The values that {@link readSettings} returns for a schema. */
export type SettingsOf<Schema extends SettingsSchema> = {
  readonly [Name in keyof Schema]: Schema[Name] extends Setting<infer Value> ? Value : never;
};

/** One thing wrong with the environment. */
export type SettingsProblem = { readonly name: string; readonly message: string };

/** The environment does not describe a service that can start. Lists every problem, not only the first. */
export class SettingsError extends Error {
  readonly code = 'settings_invalid';
  override readonly name = 'SettingsError';
  readonly problems: readonly SettingsProblem[];

  constructor(problems: readonly SettingsProblem[]) {
    super(
      `the settings have ${problems.length} problem(s):\n` +
        problems.map((problem) => `  ${problem.name}: ${problem.message}`).join('\n'),
    );
    this.problems = problems;
  }
}

/** Variables that begin with one of these are ours: one that no schema knows is a mistake, not somebody else's. */
const OWN_PREFIXES = [
  'ORIGIN_',
  'RTMP_',
  'INGEST_',
  'TRANSCODER_',
  'STEERING_',
  'EDGE_',
  'LIVE_',
  'LOCAL_CDN',
  'CDN_',
] as const;

/** A TCP port; 0 asks the system for any free one. */
export const port = z
  .string()
  .regex(/^\d{1,5}$/, 'expected a port number from 0 to 65535')
  .transform(Number)
  .refine((value) => value <= 65_535, 'expected a port number from 0 to 65535');

/** A whole number within limits, both included. */
export const integer = (min: number, max: number): z.ZodType<number, string> =>
  z
    .string()
    .regex(/^-?\d{1,15}$/, `expected a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `expected a whole number from ${min} to ${max}`);

/** `true`/`1`/`yes` or `false`/`0`/`no`. */
export const flag: z.ZodType<boolean, string> = z
  .enum(['true', 'false', '1', '0', 'yes', 'no'], 'expected true or false')
  .transform((value) => value === 'true' || value === '1' || value === 'yes');

/** Text of `min` to `max` characters without control characters. */
export const text = (min: number, max: number): z.ZodType<string, string> =>
  z
    .string()
    .min(min, `expected at least ${min} characters`)
    .max(max, `expected at most ${max} characters`)
    // eslint-disable-next-line no-control-regex
    .regex(/^[^\u0000-\u001f\u007f]*$/, 'control characters are not allowed');

/** A token that travels in an Authorization header. @spec RFC 9110 §5.5: blanks would end it */
export const bearerToken = (min: number, max: number): z.ZodType<string, string> =>
  text(min, max).refine(
    (token) => /^[\x21-\x7e]*$/.test(token),
    'expected printable ASCII characters without blanks',
  );

/** One of a closed list of words. */
export const choice = <const Words extends readonly [string, ...string[]]>(
  words: Words,
): z.ZodType<Words[number], string> => z.enum(words, `expected one of ${words.join(', ')}`);

/**
 * Reads a service's settings from the environment. Pure: the environment is an argument.
 *
 * @param known further names that are ours though this schema does not use them (the settings of sibling services)
 * @param findContradictions settings that are right by themselves but not together
 * @throws {SettingsError} with every bad, missing or unknown setting at once
 */
export function readSettings<const Schema extends SettingsSchema>(
  schema: Schema,
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[] = [],
  findContradictions: (
    env: Readonly<Record<string, string | undefined>>,
  ) => readonly SettingsProblem[] = () => [],
): SettingsOf<Schema> {
  const problems: SettingsProblem[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(schema)) {
    const raw = env[name];
    if (raw === undefined) {
      if (setting.default === undefined)
        problems.push({ name, message: `is required: ${setting.description}` });
      values[name] = setting.default;
      continue;
    }
    const parsed = setting.parse.safeParse(raw);
    if (parsed.success) values[name] = parsed.data;
    else {
      const shown = setting.secret === true ? '' : `, got ${JSON.stringify(raw)}`;
      problems.push({ name, message: `${parsed.error.issues[0]?.message ?? 'is not valid'}${shown}` });
    }
  }
  const knownNames = new Set([...Object.keys(schema), ...known]);
  for (const name of Object.keys(env)) {
    if (knownNames.has(name) || !OWN_PREFIXES.some((prefix) => name.startsWith(prefix))) continue;
    const near = nearest(name, knownNames);
    problems.push({
      name,
      message: `is not a setting of this service${near === undefined ? '' : `; did you mean ${near}?`}`,
    });
  }
  problems.push(...findContradictions(env));
  if (problems.length > 0) throw new SettingsError(problems);
  return values as SettingsOf<Schema>;
}

/** The known name with the smallest edit distance, if one is close enough to be a slip of the finger. */
function nearest(name: string, candidates: ReadonlySet<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = 4;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
