/**
 * A stable 64-bit hash as two unsigned 32-bit lanes, in plain 32-bit arithmetic: the same in Node, workerd and browsers,
 * whatever their version. Not for secrets. The lanes are MurmurHash3_x86_32 over the UTF-16 code units of the text (two
 * bytes each, little endian) with two different seeds.
 */
export type Hash64 = { readonly high: number; readonly low: number };

/** Seeds of the two lanes: the first 64 bits of the fraction of the square root of 2. Part of the wire contract. */
const SEED_HIGH = 0x6a09e667;
const SEED_LOW = 0xf3bcc908;

/** Hashes a text, for instance a session id or the name of a CDN. Takes time in proportion to its length. */
export function hash64(text: string): Hash64 {
  let high = SEED_HIGH | 0;
  let low = SEED_LOW | 0;
  const length = text.length;
  const pairs = length & ~1;
  for (let i = 0; i < pairs; i += 2) {
    const block = text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16);
    const mixed = mixBlock(block);
    high = round(high ^ mixed);
    low = round(low ^ mixed);
  }
  if (length !== pairs) {
    const mixed = mixBlock(text.charCodeAt(length - 1));
    high ^= mixed;
    low ^= mixed;
  }
  const bytes = length * 2;
  return { high: finalMix(high ^ bytes) >>> 0, low: finalMix(low ^ bytes) >>> 0 };
}

/**
 * One hash out of two, in that order. This is how a key meets a node: both are hashed once, and only this is done for
 * every pair. Every bit of the result depends on every bit of all four lanes.
 */
export function combineHash64(key: Hash64, node: Hash64): Hash64 {
  const high = finalMix(key.high ^ Math.imul(node.high, 0x9e3779b1));
  const low = finalMix(Math.imul(key.low, 0x85ebca77) ^ node.low ^ high);
  return { high: finalMix(high + Math.imul(low, 0xc2b2ae3d)) >>> 0, low: low >>> 0 };
}

/**
 * A hash as a number strictly between 0 and 1, of 52 bits, so that neither end is ever reached and its logarithm is
 * finite and not zero.
 */
export function unitInterval(hash: Hash64): number {
  return (hash.high * 0x100000 + (hash.low >>> 12) + 0.5) / 0x10000000000000;
}

function mixBlock(block: number): number {
  const k = Math.imul(block, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}

function round(lane: number): number {
  return (Math.imul((lane << 13) | (lane >>> 19), 5) + 0xe6546b64) | 0;
}

function finalMix(lane: number): number {
  let h = lane;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
