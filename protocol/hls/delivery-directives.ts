import type { PlaylistForm } from '#protocol/hls/delta-update.ts';

/** What a client asks of the server in the query of a media playlist. @spec rfc8216bis §6.2.5 */
export type DeliveryDirectives = {
  /** The playlist is to be held back until it holds this. */
  readonly block: { readonly msn: number; readonly part: number | undefined } | undefined;
  readonly form: PlaylistForm;
};

/** A query that no client of ours sends; answered 400. */
export class DeliveryDirectiveError extends Error {
  override readonly name = 'DeliveryDirectiveError';
  readonly code: 'directive_invalid' | 'directive_part_without_msn' | 'query_too_long';

  constructor(code: DeliveryDirectiveError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Longest query string that is read. */
export const QUERY_CHARS_MAX = 2_048;

const WITHOUT_DIRECTIVES: DeliveryDirectives = { block: undefined, form: 'full' };

/** What players send thousands of times a second: nothing but directives, in the order that caches want. */
const USUAL = /^_HLS_msn=(\d{1,15})(?:&_HLS_part=(\d{1,15}))?(?:&_HLS_skip=(YES|v2))?$/;

/**
 * Reads the delivery directives of a query string; everything else in it is left alone. An unknown `_HLS_skip` asks for
 * nothing: the whole playlist is always a right answer.
 *
 * @param query without the question mark
 * @throws {DeliveryDirectiveError} when a number is not one, a directive comes twice, or `_HLS_part` comes alone
 * @spec rfc8216bis §6.2.5.1, §6.2.5.2
 */
export function parseDeliveryDirectives(query: string): DeliveryDirectives {
  if (query === '') return WITHOUT_DIRECTIVES;
  if (query.length > QUERY_CHARS_MAX)
    throw new DeliveryDirectiveError(
      'query_too_long',
      `The query is longer than ${QUERY_CHARS_MAX} characters.`,
    );
  const usual = USUAL.exec(query);
  if (usual !== null)
    return {
      block: { msn: Number(usual[1]), part: usual[2] === undefined ? undefined : Number(usual[2]) },
      form: formOf(usual[3]),
    };
  const parameters = new URLSearchParams(query);
  const msn = sequenceNumber(parameters, '_HLS_msn');
  const part = sequenceNumber(parameters, '_HLS_part');
  if (msn === undefined && part !== undefined)
    throw new DeliveryDirectiveError('directive_part_without_msn', '_HLS_part needs _HLS_msn.');
  return {
    block: msn === undefined ? undefined : { msn, part },
    form: formOf(single(parameters, '_HLS_skip')),
  };
}

function formOf(skip: string | undefined): PlaylistForm {
  return skip === 'YES' ? 'delta' : skip === 'v2' ? 'delta-v2' : 'full';
}

/** A decimal-integer of at most 15 digits: beyond that no sequence number of ours lies. */
function sequenceNumber(parameters: URLSearchParams, name: string): number | undefined {
  const value = single(parameters, name);
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value))
    throw new DeliveryDirectiveError(
      'directive_invalid',
      `${name}: expected a whole number of at most 15 digits.`,
    );
  return Number(value);
}

function single(parameters: URLSearchParams, name: string): string | undefined {
  const values = parameters.getAll(name);
  if (values.length > 1)
    throw new DeliveryDirectiveError('directive_invalid', `${name} is given more than once.`);
  return values[0];
}
