/** An attribute list by name; quotes are taken off. @spec rfc8216bis §4.2 */
export type Attributes = ReadonlyMap<string, string>;

/**
 * Reads the attribute list of a tag.
 *
 * @throws {Error} on anything but `NAME=value` pairs set apart by commas, or a name that comes twice
 */
export function readAttributes(list: string): Attributes {
  const attributes = new Map<string, string>();
  const pattern = /([A-Z0-9-]+)=("([^"\r\n]*)"|[^",\s]+)(,|$)/gy;
  let end = 0;
  for (const match of list.matchAll(pattern)) {
    const [all, name = '', value = '', quoted] = match;
    if (attributes.has(name)) throw new Error(`attribute ${name} comes twice in ${JSON.stringify(list)}`);
    attributes.set(name, quoted ?? value);
    end = match.index + all.length;
  }
  if (end !== list.length || list.endsWith(','))
    throw new Error(`not an attribute list: ${JSON.stringify(list)}`);
  return attributes;
}

/** A decimal attribute in seconds or bits, or `undefined` when it is not there. */
export function decimal(attributes: Attributes, name: string): number | undefined {
  const value = attributes.get(name);
  if (value === undefined) return undefined;
  if (!/^\d+(\.\d+)?$/.test(value)) throw new Error(`${name} is not a decimal number: ${value}`);
  return Number(value);
}

/** An attribute that must be there. */
export function required(attributes: Attributes, name: string): string {
  const value = attributes.get(name);
  if (value === undefined) throw new Error(`attribute ${name} is missing`);
  return value;
}
