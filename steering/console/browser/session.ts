const KEY = 'steering-console-token';

/** The token of this tab; it is gone when the tab is. */
export const session = {
  get token(): string | null {
    return sessionStorage.getItem(KEY);
  },
  remember(token: string): void {
    sessionStorage.setItem(KEY, token);
  },
  forget(): void {
    sessionStorage.removeItem(KEY);
  },
};
