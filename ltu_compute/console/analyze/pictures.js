/**
 * Pictures that the user has given, and pictures in replies.
 * @module
 */
import { isAnimated, kindOf } from "./file-kinds.js";

const HEAD_BYTES = 4096; // enough to recognise a kind of file

/**
 * @typedef {object} Picture
 * @property {Blob} blob what is sent
 * @property {string} name
 * @property {string} source the address that it was fetched from, else empty
 * @property {string} url of what is shown, for this page only
 * @property {number} width px, upright as its EXIF says; 0: the browser cannot show it
 * @property {number} height
 * @property {string} unreadable kind of a file that the browser cannot show; else empty
 */

/**
 * @param {Blob} blob
 * @param {string} name
 * @param {string} [source]
 * @returns {Promise<Picture>}
 */
export async function pictureOf(blob, name, source = "") {
  const head = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  const url = URL.createObjectURL(isAnimated(head) ? await firstFrame(blob) : blob);
  const { width, height } = await sizeOf(url);
  return { blob, name, source, url, width, height, unreadable: width ? "" : kindOf(head) };
}

/**
 * Return the first frame of an animation, which is the one that the service analyses.
 * @param {Blob} blob
 * @returns {Promise<Blob>} the file itself where it cannot be read
 */
async function firstFrame(blob) {
  try {
    const frame = await createImageBitmap(blob);
    const { canvas, context } = canvasOf(frame.width, frame.height);
    context.drawImage(frame, 0, 0);
    frame.close();
    return await blobOf(canvas);
  } catch (error) {
    if (error instanceof DOMException) return blob; // reported as unreadable
    throw error;
  }
}

/** @param {Picture | undefined} picture */
export function release(picture) {
  if (picture) URL.revokeObjectURL(picture.url);
}

/**
 * @param {string} url
 * @returns {Promise<{width: number, height: number}>}
 */
async function sizeOf(url) {
  try {
    const { naturalWidth: width, naturalHeight: height } = await decoded(url);
    return { width, height };
  } catch (error) {
    if (error instanceof DOMException) return { width: 0, height: 0 };
    throw error;
  }
}

/**
 * Return an image element once its pixels are there.
 * @param {string} url
 */
export async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/**
 * Draw a picture anew, as a format that the service reads.
 * @param {Picture} picture
 * @param {number} scale of width and height
 * @param {"image/png" | "image/jpeg"} type
 * @returns {Promise<Picture>}
 */
export async function redrawn(picture, scale, type) {
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const { canvas, context } = canvasOf(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(await decoded(picture.url), 0, 0, width, height);
  const suffix = type === "image/png" ? "png" : "jpg";
  const name = `${picture.name.replace(/\.[^.]*$/, "")}.${suffix}`;
  return pictureOf(await blobOf(canvas, type), name);
}

/**
 * @param {number} width
 * @param {number} height
 */
export function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("the browser has no 2D canvas");
  return { canvas, context };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {string} [type]
 * @returns {Promise<Blob>}
 */
export function blobOf(canvas, type = "image/png") {
  return new Promise((resolve, reject) => {
    const done = (/** @type {Blob | null} */ blob) =>
      blob ? resolve(blob) : reject(new Error("the browser cannot hold a picture of this size"));
    canvas.toBlob(done, type, 0.92);
  });
}

/**
 * Return a mask as a sheet of colour: opaque where the mask is 255, else clear.
 * @param {string} url of a PNG of one channel
 * @param {[number, number, number]} color red, green, blue
 * @param {boolean} [inverted] opaque where the mask is 0
 * @returns {Promise<HTMLCanvasElement>}
 */
export async function tinted(url, color, inverted = false) {
  const image = await decoded(url);
  const { canvas, context } = canvasOf(image.naturalWidth, image.naturalHeight);
  context.drawImage(image, 0, 0);
  const sheet = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint32Array(sheet.data.buffer);
  const [red, green, blue] = color; // little-endian, as every browser's machine
  const opaque = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  for (let at = 0; at < pixels.length; at++) {
    pixels[at] = (pixels[at] & 0xff) > 127 !== inverted ? opaque : 0;
  }
  context.putImageData(sheet, 0, 0);
  return canvas;
}
