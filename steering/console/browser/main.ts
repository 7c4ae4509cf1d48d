import { Api, ApiError } from './api.ts';
import { ConsoleView } from './console-view.ts';
import { el, setText } from './elements.ts';
import type { FeedState } from './event-feed.ts';
import { loginView } from './login-view.ts';
import { session } from './session.ts';

const content = byId('content');
const connection = byId('connection');
const who = byId('who');
let view: ConsoleView | undefined;

const CONNECTION: Readonly<Record<FeedState, string>> = {
  connecting: 'connecting …',
  live: 'live',
  lost: 'connection lost, trying again',
};

function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

/** @throws {Error} with words for the operator */
async function logIn(token: string): Promise<void> {
  // A header can carry nothing else; anything else is a slip of the clipboard.
  if (!/^[\x21-\x7e]{1,512}$/.test(token)) throw new Error('This is not a token.');
  const api = new Api(token);
  const { name, role } = await api.whoAmI().catch((error: unknown) => {
    if (error instanceof ApiError && error.status === 401) throw new Error('This token is not accepted.');
    throw error;
  });
  session.remember(token);
  open(api, name, role);
}

function open(api: Api, name: string, role: 'viewer' | 'operator' | 'admin'): void {
  view?.close();
  view = new ConsoleView({
    api,
    role,
    onState: (state) => {
      setText(connection, CONNECTION[state]);
      connection.className = state;
    },
    onLoggedOut: () => logOut('This token is not valid any more.'),
  });
  who.replaceChildren(
    el('span', {}, `${name} (${role})`),
    el('button', { type: 'button', class: 'quiet', click: () => logOut() }, 'Log out'),
  );
  content.replaceChildren(view.element);
}

function logOut(message = ''): void {
  view?.close();
  view = undefined;
  session.forget();
  who.replaceChildren();
  setText(connection, '');
  connection.className = '';
  const form = loginView(logIn, message);
  content.replaceChildren(form);
  form.querySelector('input')?.focus();
}

const remembered = session.token;
if (remembered === null) logOut();
else
  logIn(remembered).catch((error: unknown) => {
    logOut(error instanceof Error ? error.message : '');
  });
