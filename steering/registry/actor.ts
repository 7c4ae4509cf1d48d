/** What a caller of the ops API may do. Each role may do what those before it may. */
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Whether a role may do what another one is needed for. */
export function roleAllows(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** Who makes a change. */
export type Actor = {
  /** Name of the token. */
  readonly name: string;
  readonly role: Role;
  readonly requestId: string;
};
