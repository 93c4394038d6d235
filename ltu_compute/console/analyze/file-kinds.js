/**
 * Kinds of files, by their first bytes: why a file cannot be shown, and what to do about it.
 * @module
 */

/** @type {[string, number, string][]} kind, where its bytes are, the bytes as Latin-1 */
const SIGNATURES = [
  ["jpeg", 0, "\xff\xd8\xff"],
  ["png", 0, "\x89PNG\r\n\x1a\n"],
  ["gif", 0, "GIF8"],
  ["webp", 8, "WEBP"],
  ["tiff", 0, "II*\0"],
  ["tiff", 0, "MM\0*"],
  ["pdf", 0, "%PDF"],
  ["psd", 0, "8BPS"],
  ["zip", 0, "PK\x03\x04"],
];
const HEIC = /^(heic|heix|hevc|heim|heis|mif1|msf1)$/; // brands of ISO/IEC 23008-12
const SERVED = new Set(["jpeg", "png", "gif"]); // what every operation reads

/**
 * Return the kind of a file: a key of the page's texts after `file-`.
 * @param {Uint8Array} head its first bytes
 */
export function kindOf(head) {
  if (!head.length) return "empty";
  const text = String.fromCharCode(...head.subarray(0, 512));
  const known = SIGNATURES.find(([, at, bytes]) => text.startsWith(bytes, at));
  if (known) return known[0];
  if (text.startsWith("ftyp", 4)) return HEIC.test(text.slice(8, 12)) ? "heic" : "video";
  if (/^\s*<(!doctype html|html)/i.test(text)) return "html";
  return "other";
}

/**
 * Return whether a file of a kind that the browser cannot show is nothing for the service, either.
 * @param {string} kind empty: the browser shows it
 */
export function isUnfit(kind) {
  return kind !== "" && !SERVED.has(kind);
}

/**
 * Return whether a file may have several frames: a GIF, or a PNG with an animation.
 * @param {Uint8Array} head
 */
export function isAnimated(head) {
  const kind = kindOf(head);
  if (kind !== "png") return kind === "gif";
  return String.fromCharCode(...head).includes("acTL"); // before the pixels, by PNG (third edition)
}
