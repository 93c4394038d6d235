/**
 * Saving to the user's disk.
 * @module
 */
import { h } from "./dom.js";

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // until the browser has read it
}

/**
 * @param {string} base64
 * @param {string} type
 */
export function blobOfBase64(base64, type) {
  return new Blob([/** @type {BlobPart} */ (bytesOf(base64))], { type });
}

/**
 * @param {string} base64
 * @returns {Uint8Array}
 */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
