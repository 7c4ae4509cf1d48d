/** A rule that a recorded run broke. */
export type Violation = { readonly rule: string; readonly where: string; readonly message: string };

/** Collects violations; the same one is kept once, however many playlists show it. */
export class Violations {
  readonly #found = new Map<string, Violation>();

  /** Notes a violation when `kept` is false. */
  expect(kept: boolean, rule: string, where: string, message: string): void {
    if (!kept) this.#found.set(`${rule} ${where} ${message}`, { rule, where, message });
  }

  get all(): Violation[] {
    return [...this.#found.values()];
  }
}
