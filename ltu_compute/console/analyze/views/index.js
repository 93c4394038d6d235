/**
 * Which view shows the result of which operation; what is not listed gets the general one.
 * @module
 */

/**
 * @typedef {object} Context
 * @property {any} reply as received
 * @property {any} result
 * @property {any} info
 * @property {import("../pictures.js").Picture[]} pictures
 * @property {import("../stage.js").Pane[]} panes
 * @property {import("../bench.js").Bench} bench
 * @property {HTMLElement} details the part of the panel that is the view's
 * @property {() => boolean} current whether the page still shows this reply
 * @property {import("../verdict.js").Rules} rules by which a shot is judged
 * @property {Record<string, any>} memo what the user has set in this view, kept between replies
 * @property {any} prepared what `prepare` has returned
 */

/**
 * @typedef {object} View
 * @property {Record<string, any>} [start] values that the form begins with
 * @property {(reply: any) => Promise<any>} [prepare] decodes pictures of a reply, before the one
 *   before it is taken away: nothing flickers
 * @property {(context: Context) => void | Promise<void>} show
 */

/** @type {Record<string, () => Promise<View>>} */
const VIEWS = {
  heatMap: () => import("./heat-map.js"),
  colorPalette: () => import("./palette.js"),
  objectMaskDetection: () => import("./mask.js"),
  edges: () => import("./mask.js"),
  contours: () => import("./contours.js"),
  imageQuality: () => import("./quality.js"),
  textDetection: () => import("./text.js"),
  classification: () => import("./labels.js"),
  objectDetection: () => import("./objects.js"),
  distance: () => import("./distance.js"),
  differences: () => import("./differences.js"),
  alignmentMatrix: () => import("./alignment.js"),
};

/**
 * @param {string} name of an operation
 * @returns {Promise<View>}
 */
export function viewOf(name) {
  return (VIEWS[name] ?? (() => import("./general.js")))();
}
