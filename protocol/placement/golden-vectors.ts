/**
 * What the hash must answer, for ever and in every runtime: an edge and a steering server that disagree here send the
 * same viewer to two CDNs. Tests in Node and in workerd read this table. The hashes agree with MurmurHash3_x86_32 over
 * UTF-16LE as written independently.
 */
export const HASH_VECTORS: readonly (readonly [text: string, hash: string])[] = [
  ['', '09f45f69d01de815'],
  ['a', '14854a617cb1f01c'],
  ['ab', '225cffe2bc250cea'],
  ['abc', 'fe4dadd62c4e1020'],
  ['session-0001', 'ba87d4fda97d2180'],
  ['AAECAwQFBgcICQoLDA0ODw', '51539b26c56d240d'],
  ['Zürich', '8cf7f09c30aebc22'],
  ['日本', '8f9e4076db27a422'],
];

export const COMBINED_VECTORS: readonly (readonly [key: string, node: string, hash: string, unit: number])[] =
  [
    ['a', 'b', '71fb082928b35645', 0.44523669247491904],
    ['session-0001', 'cdn-a', '1d2a1ff92bcbbdad', 0.11392402489927533],
    ['', '', 'a1c78bad35db14a7', 0.6319510743977442],
  ];

type RankVector = {
  readonly key: string;
  readonly salt: string;
  readonly weights: Readonly<Record<string, number>>;
  readonly order: readonly string[];
};

const FOUR_CDNS = { 'cdn-a': 50, 'cdn-b': 30, 'cdn-c': 15, 'cdn-d': 5 };
const DRAINED = { 'cdn-a': 0, 'cdn-b': 1000, 'cdn-c': 0, 'cdn-d': 1 };
const THREE_EQUAL = { 'cdn-a': 1, 'cdn-b': 1, 'cdn-c': 1 };
const EIGHT_EQUAL = {
  'edge-1': 1,
  'edge-2': 1,
  'edge-3': 1,
  'edge-4': 1,
  'edge-5': 1,
  'edge-6': 1,
  'edge-7': 1,
  'edge-8': 1,
};

export const RANK_VECTORS: readonly RankVector[] = [
  vector('session-0001', '', FOUR_CDNS, 'cdn-a cdn-b cdn-c cdn-d'),
  vector('AAECAwQFBgcICQoLDA0ODw', 'live_1', FOUR_CDNS, 'cdn-c cdn-a cdn-b cdn-d'),
  vector('session-0001', '', THREE_EQUAL, 'cdn-a cdn-c cdn-b'),
  vector('session-0001', 'stream-1', THREE_EQUAL, 'cdn-a cdn-b cdn-c'),
  vector('session-0002', 'stream-1', THREE_EQUAL, 'cdn-c cdn-b cdn-a'),
  vector('session-0001', '', DRAINED, 'cdn-b cdn-d cdn-a cdn-c'),
  vector('session-0002', 'stream-1', DRAINED, 'cdn-b cdn-d cdn-c cdn-a'),
  vector('session-0001', '', EIGHT_EQUAL, 'edge-6 edge-7 edge-1 edge-4 edge-2 edge-8 edge-5 edge-3'),
  vector('session-0001', 'stream-1', EIGHT_EQUAL, 'edge-1 edge-3 edge-4 edge-2 edge-7 edge-6 edge-5 edge-8'),
  vector('session-0002', 'stream-1', EIGHT_EQUAL, 'edge-8 edge-2 edge-4 edge-1 edge-6 edge-7 edge-5 edge-3'),
  vector(
    'AAECAwQFBgcICQoLDA0ODw',
    'live_1',
    EIGHT_EQUAL,
    'edge-7 edge-2 edge-4 edge-6 edge-3 edge-5 edge-8 edge-1',
  ),
];

function vector(key: string, salt: string, weights: Record<string, number>, order: string): RankVector {
  return { key, salt, weights, order: order.split(' ') };
}
