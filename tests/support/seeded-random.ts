/**
 * A source of numbers from 0 (included) to 1 (excluded) that repeats for the same seed. Not for secrets.
 *
 * @param seed a 32-bit whole number; print it when a test fails
 */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    // A Weyl sequence with a finisher of two rounds of xor-shift and multiply.
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000;
  };
}
