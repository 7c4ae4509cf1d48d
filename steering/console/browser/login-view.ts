import { el } from './elements.ts';

/**
 * Asks for the token.
 *
 * @param logIn rejects with words for the operator when the token is not accepted
 */
export function loginView(logIn: (token: string) => Promise<void>, message = ''): HTMLElement {
  const problem = el('p', { class: 'error', role: 'alert' }, message);
  const token = el('input', {
    id: 'token',
    type: 'password',
    autocomplete: 'off',
    required: true,
    maxlength: 512,
    spellcheck: 'false',
  });
  const button = el('button', { type: 'submit' }, 'Log in');
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = '';
    try {
      await logIn(token.value.trim());
    } catch (error) {
      problem.textContent = (error as Error).message;
      token.select();
    } finally {
      button.disabled = false;
    }
  };
  return el(
    'form',
    { class: 'panel login', submit: (event) => void submit(event) },
    el('h2', {}, 'Log in'),
    el('label', { for: 'token' }, 'Access token'),
    token,
    button,
    problem,
    el('p', { class: 'hint' }, 'The token stays in this tab and is forgotten when you close it.'),
  );
}
