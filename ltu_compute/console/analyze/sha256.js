/**
 * SHA-256 (FIPS 180-4) for pages that were not loaded by https: browsers keep theirs from them.
 * @module
 */

const PRIMES = 64; // rounds, each with the constant of a prime
const BLOCK = 64; // bytes

/** @type {number[]} 32 bits each: of the cube roots of the first primes */
const CONSTANTS = [];
/** @type {number[]} of their square roots: the first eight are the initial state */
const INITIAL = [];
for (let number = 2; CONSTANTS.length < PRIMES; number++) {
  let prime = true;
  for (let by = 2; by * by <= number; by++) if (number % by === 0) prime = false;
  if (!prime) continue;
  CONSTANTS.push(fraction(Math.cbrt(number)));
  INITIAL.push(fraction(Math.sqrt(number)));
}

/** @param {number} root */
function fraction(root) {
  return Math.floor((root - Math.floor(root)) * 2 ** 32) | 0;
}

/**
 * Return the SHA-256 of a file, hexadecimal.
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
export async function sha256(blob) {
  const content = await blob.arrayBuffer();
  if (globalThis.crypto?.subtle) {
    return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", content)));
  }
  return digest(new Uint8Array(content));
}

/**
 * @param {Uint8Array} content
 * @returns {string}
 */
export function digest(content) {
  const length = Math.ceil((content.length + 9) / BLOCK) * BLOCK;
  const padded = new Uint8Array(length);
  padded.set(content);
  padded[content.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(length - 8, Math.floor(content.length / 2 ** 29));
  view.setUint32(length - 4, content.length * 8);
  const state = Int32Array.from(INITIAL.slice(0, 8));
  const words = new Int32Array(PRIMES);
  for (let at = 0; at < length; at += BLOCK) {
    for (let n = 0; n < 16; n++) words[n] = view.getInt32(at + 4 * n);
    for (let n = 16; n < PRIMES; n++) {
      const [a, b] = [words[n - 15], words[n - 2]];
      const low = turned(a, 7) ^ turned(a, 18) ^ (a >>> 3);
      const high = turned(b, 17) ^ turned(b, 19) ^ (b >>> 10);
      words[n] = words[n - 16] + low + words[n - 7] + high;
    }
    let [a, b, c, d, e, f, g, i] = state;
    for (let n = 0; n < PRIMES; n++) {
      const high = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25);
      const first = (i + high + ((e & f) ^ (~e & g)) + CONSTANTS[n] + words[n]) | 0;
      const low = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22);
      const second = (low + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [i, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    [a, b, c, d, e, f, g, i].forEach((value, n) => (state[n] += value));
  }
  const bytes = new DataView(new ArrayBuffer(32));
  state.forEach((value, n) => bytes.setInt32(4 * n, value));
  return hex(new Uint8Array(bytes.buffer));
}

/**
 * @param {number} value
 * @param {number} by bits, to the right
 */
function turned(value, by) {
  return (value >>> by) | (value << (32 - by));
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
