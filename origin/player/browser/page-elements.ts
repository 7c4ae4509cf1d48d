/** Finds an element of the page by its id. @throws when page and script do not belong together */
export function element<Type extends Element>(id: string, type: new () => Type): Type {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

/** Sets text only when it differs, so that nothing is announced or laid out anew for no reason. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
