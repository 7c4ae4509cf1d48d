/** A value that must not go into a playlist, because it would end a tag or begin another one. */
export class PlaylistValueError extends Error {
  readonly code = 'playlist_value_invalid';
  override readonly name = 'PlaylistValueError';
}

/** U+0000–U+001F and U+007F–U+009F. @spec rfc8216bis §4.1 */
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;

/**
 * A quoted-string attribute value.
 *
 * @throws {PlaylistValueError} when the text is empty or holds a double quote or a control character
 * @spec rfc8216bis §4.2
 */
export function quoted(text: string): string {
  if (text === '') throw new PlaylistValueError('a quoted string must not be empty');
  if (text.includes('"') || CONTROL_CHARACTER.test(text))
    throw new PlaylistValueError(`${JSON.stringify(text)} must not stand in a quoted string`);
  return `"${text}"`;
}

/**
 * A URI on a line of its own.
 *
 * @throws {PlaylistValueError} when it could be taken for a tag or for no line at all
 * @spec rfc8216bis §4.1
 */
export function uriLine(uri: string): string {
  if (uri === '' || uri.startsWith('#') || /\s/.test(uri) || CONTROL_CHARACTER.test(uri))
    throw new PlaylistValueError(`${JSON.stringify(uri)} is no URI line`);
  return uri;
}

/**
 * A tag with its attribute list; attributes without a value are left out.
 *
 * @param attributes names and values as they go into the text; quoted strings have been through {@link quoted}
 * @spec rfc8216bis §4.2
 */
export function tag(name: string, attributes: Readonly<Record<string, string | undefined>>): string {
  const pairs: string[] = [];
  for (const [attribute, value] of Object.entries(attributes))
    if (value !== undefined) pairs.push(`${attribute}=${value}`);
  return `#${name}:${pairs.join(',')}`;
}
