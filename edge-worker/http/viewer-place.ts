import type { ViewerPlace } from '#edge-worker/edge-deps.ts';

/** Header names, lower case; '' when nobody says. The same as those that steering trusts. */
export type PlaceHeaders = { readonly country: string; readonly asn: string };

/** From where a viewer asks, by headers; read as steering reads them, because both must decide alike. */
export function placeFromHeaders(request: Headers, names: PlaceHeaders): ViewerPlace {
  const country = names.country === '' ? null : request.get(names.country);
  const asn = names.asn === '' ? null : request.get(names.asn);
  return { country: countryOf(country ?? undefined), asn: asnOf(asn ?? undefined) };
}

/** Two letters; `XX` is how CDNs write that they do not know. */
export function countryOf(text: string | undefined): string | undefined {
  const known = text !== undefined && /^[A-Za-z]{2}$/.test(text) && text.toUpperCase() !== 'XX';
  return known ? text.toUpperCase() : undefined;
}

function asnOf(text: string | undefined): number | undefined {
  const number = /^(?:AS)?(\d{1,10})$/i.exec(text?.trim() ?? '');
  return number === null ? undefined : Number(number[1]);
}
