import { createEdgeApp, type EdgeApp } from '#edge-worker/edge-app.ts';
import { EdgeCounters } from '#edge-worker/edge-counters.ts';
import type { EdgeClock, PlaceCache } from '#edge-worker/edge-deps.ts';
import { countryOf, placeFromHeaders } from '#edge-worker/http/viewer-place.ts';
import { readEdgeSettings } from '#edge-worker/settings.ts';

const clock: EdgeClock = {
  nowMs: () => Date.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Keys of the Cache API are URLs; no site has this name. */
const PLACE_URL = 'https://edge.invalid';
const placeCache: PlaceCache = {
  match: (key) => caches.default.match(PLACE_URL + key),
  put: (key, response) => caches.default.put(PLACE_URL + key, response),
};

/** One per isolate: what it remembers is memory and counts, which may go at any moment. */
let app: EdgeApp | undefined;

function start(env: Readonly<Record<string, unknown>>): EdgeApp {
  const settings = readEdgeSettings(env);
  const names = { country: settings.STEERING_COUNTRY_HEADER, asn: settings.STEERING_ASN_HEADER };
  return createEdgeApp(settings, {
    fetch: (url, init) => fetch(url, init),
    clock,
    counters: new EdgeCounters(),
    placeCache,
    place: (request) => {
      const said = placeFromHeaders(request.headers, names);
      // Where steering is told the place by a header, the platform's own knowledge is the same and cannot be made up.
      const cf =
        (request as { readonly cf?: { readonly country?: unknown; readonly asn?: unknown } }).cf ?? {};
      const country = typeof cf.country === 'string' ? countryOf(cf.country) : undefined;
      const asn = typeof cf.asn === 'number' ? cf.asn : undefined;
      return {
        country: names.country === '' ? undefined : (country ?? said.country),
        asn: names.asn === '' ? undefined : (asn ?? said.asn),
      };
    },
  });
}

export default {
  fetch(
    request: Request,
    env: Readonly<Record<string, unknown>>,
    context: ExecutionContext,
  ): Promise<Response> {
    app ??= start(env);
    return app.fetch(request, (work) => context.waitUntil(work));
  },
};
