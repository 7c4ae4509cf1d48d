import { PATHWAY_ID_PATTERN } from '#protocol/steering/pathway-id.ts';

/** A pathway that a player says it has used since it last asked, and how fast it was. */
export type ReportedPathway = {
  readonly id: string;
  /** As the player estimates it; untrusted, and wrapped at 2³¹ by hls.js. `undefined` when missing or impossible. */
  readonly throughputBps: number | undefined;
};

/** What a player says when it asks for a steering manifest. Every text parses to one of these. */
export type SteeringQuery = {
  /** The session token of SERVER-URI or RELOAD-URI, unchecked. */
  readonly session: string | undefined;
  /** In the order of the player, which lists the one it uses now last; without repetitions. */
  readonly pathways: readonly ReportedPathway[];
};

/** Name of the parameter that carries the session token. */
export const SESSION_PARAMETER = 'session';
/** Most pathways read from one request, and the fastest throughput believed. */
export const REPORTED_PATHWAYS_MAX = 16;
export const THROUGHPUT_BPS_MAX = 100_000_000_000;

/**
 * Reads the query of a steering request: `_HLS_pathway` and `_DASH_pathway` quoted, unquoted or a list; of a parameter
 * that comes twice (media3 appends its own again) the last. Never throws; what cannot be read is left out.
 *
 * @param query what stands behind the question mark
 * @spec draft-pantos-content-steering-05 §6; ETSI TS 103 998 §6.4
 */
export function parseSteeringQuery(query: string): SteeringQuery {
  let session: string | undefined;
  let pathway: string | undefined;
  let throughput: string | undefined;
  for (let start = 0; start < query.length;) {
    let end = query.indexOf('&', start);
    if (end < 0) end = query.length;
    const equals = query.indexOf('=', start);
    if (equals > start && equals < end) {
      const name = query.slice(start, equals);
      const value = query.slice(equals + 1, end);
      if (name === SESSION_PARAMETER) session ??= value;
      else if (name === '_HLS_pathway' || name === '_DASH_pathway') pathway = value;
      else if (name === '_HLS_throughput' || name === '_DASH_throughput') throughput = value;
    }
    start = end + 1;
  }
  return { session, pathways: pathway === undefined ? [] : reported(pathway, throughput) };
}

function reported(pathwayText: string, throughputText: string | undefined): ReportedPathway[] {
  const ids = unquote(pathwayText).split(',', REPORTED_PATHWAYS_MAX);
  const rates = throughputText === undefined ? [] : unquote(throughputText).split(',');
  // dash.js leaves out the rates it does not know, so a list of another length says nothing about any of them.
  const aligned = rates.length === ids.length;
  const pathways: ReportedPathway[] = [];
  for (const [index, raw] of ids.entries()) {
    const id = raw.trim();
    if (!PATHWAY_ID_PATTERN.test(id) || pathways.some((known) => known.id === id)) continue;
    pathways.push({ id, throughputBps: aligned ? readThroughput(rates[index] ?? '') : undefined });
  }
  return pathways;
}

function readThroughput(text: string): number | undefined {
  const value = /^\s*\d{1,12}(?:\.\d{1,20})?\s*$/.test(text) ? Math.round(Number(text)) : 0;
  return value > 0 && value <= THROUGHPUT_BPS_MAX ? value : undefined;
}

function unquote(text: string): string {
  let decoded = text;
  if (text.includes('%')) {
    try {
      decoded = decodeURIComponent(text);
    } catch {
      return '';
    }
  }
  return decoded.replaceAll('"', '');
}
