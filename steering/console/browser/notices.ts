import { el } from './elements.ts';

const SHOWN_MS = 6_000;
const NOTICES_MAX = 4;

/** Tells the operator something in passing; read out by screen readers. */
export function notify(text: string, kind: 'info' | 'error' = 'info'): void {
  const notices = document.getElementById('notices');
  if (notices === null) return;
  const notice = el('p', { class: `notice ${kind}` }, text);
  notices.append(notice);
  while (notices.childElementCount > NOTICES_MAX) notices.firstElementChild?.remove();
  setTimeout(() => notice.remove(), SHOWN_MS);
}
