import { EDGE_SETTINGS } from '#edge-worker/settings.ts';
import { choice, integer, port, readSettings, text, type SettingsOf } from '#runtime/config/settings.ts';
import { LOG_LEVELS } from '#runtime/log.ts';

/** The settings of an edge that runs in Node: where it listens, besides those of every edge. */
export const EDGE_NODE_SETTINGS = {
  EDGE_PORT: { parse: port, default: 8787, description: 'Port of the edge; 0 takes any free one.' },
  EDGE_HOST: { parse: text(1, 255), default: '0.0.0.0', description: 'Address to listen on.' },
  EDGE_CONNECTIONS_MAX: {
    parse: integer(1, 1_000_000),
    default: 19_000,
    description: 'Connections in all; one more is closed at once.',
  },
  ...EDGE_SETTINGS,
  LOG_LEVEL: { parse: choice(LOG_LEVELS), default: 'info', description: 'Least level that is logged.' },
} as const;

export type EdgeNodeSettings = SettingsOf<typeof EDGE_NODE_SETTINGS>;

/**
 * Reads the edge's settings from the environment.
 *
 * @param known names of sibling services that may stand in the same environment
 * @throws {SettingsError} with everything that is wrong
 */
export function readEdgeNodeSettings(
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[] = [],
): EdgeNodeSettings {
  return readSettings(EDGE_NODE_SETTINGS, env, known);
}
