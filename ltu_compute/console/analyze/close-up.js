/**
 * Parts of a pair beside each other: the reference, and the shot as the reference sees it.
 * @module
 */
import { h } from "./dom.js";
import { cssMatrix } from "./geometry.js";
import { t } from "./i18n.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./pictures.js").Picture} Picture */

const AROUND = 1.8; // times the box: its surroundings show where it is
const LEAST_PX = 24; // of the picture, along a side
const LEAST = 0.045; // of the picture's longest side: what a small difference belongs to
const MOST_ZOOM = 4; // screen px a px

/**
 * Return a difference before and after.
 * @param {Picture[]} pictures the reference and the shot
 * @param {[Box, Box]} boxes of the difference on either
 * @param {number[] | undefined} matrix homography from the shot to the reference
 * @param {{width: number, height: number}} size of one, CSS px
 */
export function closeUps([reference, shot], [before, after], matrix, size) {
  return h(
    "span",
    { class: "close-ups" },
    closeUp(reference, before, reference, null, size, t("before")),
    matrix
      ? closeUp(shot, before, reference, matrix, size, t("after"))
      : closeUp(shot, after, shot, null, size, t("after")),
  );
}

/**
 * @param {Picture} picture
 * @param {Box} box what is shown, in px of the frame
 * @param {{width: number, height: number}} frame the picture itself, or that which the matrix leads to
 * @param {number[] | null} matrix
 * @param {{width: number, height: number}} size
 * @param {string} words
 */
function closeUp(picture, box, frame, matrix, size, words) {
  const least = Math.max(LEAST_PX, LEAST * Math.max(frame.width, frame.height));
  const scale = Math.min(
    size.width / Math.max(box.width * AROUND, least),
    size.height / Math.max(box.height * AROUND, least),
    MOST_ZOOM,
  );
  const x = box.x + box.width / 2 - size.width / scale / 2;
  const y = box.y + box.height / 2 - size.height / scale / 2;
  const image = h("img", {
    src: picture.url,
    alt: words,
    draggable: "false",
    loading: "lazy",
    style: {
      width: `${picture.width}px`,
      height: `${picture.height}px`,
      transform: `scale(${scale}) translate(${-x}px, ${-y}px) ${matrix ? cssMatrix(matrix) : ""}`,
    },
  });
  const style = { width: `${size.width}px`, height: `${size.height}px` };
  return h("span", { class: "close-up", title: words, style }, image);
}
