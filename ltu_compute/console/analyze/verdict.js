/**
 * OK or NG: what a shot's differences are against the limits of a good one.
 *
 * The rules are those of recipes (docs/recipes.md) and of the service: a difference whose middle is
 * in a region with limits of its own is judged by these, and by none of the others.
 * @module
 */
import { h } from "./dom.js";
import { areaWords, number, t } from "./i18n.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {{box: Box, area_percent: number, strength: number}} Weighed a difference; its box on the reference */
/** @typedef {{max_count?: number, max_area_percent?: number, max_area_mm2?: number, max_strength?: number}} Limits */
/** @typedef {{name: string, polygon: [number, number][], limits: Limits}} LimitedRegion */
/**
 * @typedef {object} Rules
 * @property {Limits} limits without any, a good shot has no difference
 * @property {LimitedRegion[]} regions those that have limits of their own
 * @property {number} mm2 area of the reference; 0: not known
 */
/**
 * @typedef {object} Check of one limit
 * @property {string} region its name; empty: the limit of all others
 * @property {"count" | "area" | "strength"} measure
 * @property {number} found
 * @property {number} most
 * @property {boolean} broken
 */

/**
 * Return how differences keep to the limits.
 * @param {Weighed[]} differences
 * @param {Rules} rules
 * @returns {Check[]}
 */
export function judged(differences, { limits, regions, mm2 }) {
  /** @type {Weighed[][]} */
  const within = regions.map(() => []);
  /** @type {Weighed[]} */
  const others = [];
  for (const difference of differences) {
    const { x, y, width, height } = difference.box;
    const middle = { x: x + width / 2, y: y + height / 2 };
    const at = regions.findIndex(({ polygon }) => isInside(middle, polygon));
    (at < 0 ? others : within[at]).push(difference);
  }
  const none = Object.values(limits).every((limit) => limit === undefined);
  return [
    ...checks("", others, none ? { max_count: 0 } : limits, mm2),
    ...regions.flatMap((region, at) => checks(region.name, within[at], region.limits, mm2)),
  ];
}

/**
 * @param {string} region
 * @param {Weighed[]} differences
 * @param {Limits} limits
 * @param {number} mm2
 * @returns {Check[]}
 */
function checks(region, differences, limits, mm2) {
  const area = differences.reduce((sum, each) => sum + each.area_percent, 0);
  const strength = Math.max(0, ...differences.map((each) => each.strength));
  const byScale = mm2 ? (100 * (limits.max_area_mm2 ?? Infinity)) / mm2 : Infinity;
  /** @type {["count" | "area" | "strength", number, number][]} */
  const measured = [
    ["count", differences.length, limits.max_count ?? Infinity],
    ["area", area, Math.min(limits.max_area_percent ?? Infinity, byScale)],
    ["strength", strength, limits.max_strength ?? Infinity],
  ];
  return measured
    .filter(([, , most]) => most < Infinity)
    .map(([measure, found, most]) => ({ region, measure, found, most, broken: found > most }));
}

/**
 * Return the limits of all differences with areas in percent, as an inspection takes them.
 * @param {Rules} rules
 * @returns {Limits}
 */
export function percentLimits({ limits, mm2 }) {
  const { max_area_mm2: byScale, ...rest } = limits;
  if (byScale === undefined || !mm2) return rest;
  const most = Math.min(rest.max_area_percent ?? Infinity, (100 * byScale) / mm2);
  return { ...rest, max_area_percent: most };
}

/**
 * Return whether a point is in a polygon, by the even-odd rule.
 * @param {import("./geometry.js").Point} point
 * @param {[number, number][]} polygon
 */
export function isInside({ x, y }, polygon) {
  let inside = false;
  polygon.forEach(([x1, y1], at) => {
    const [x2, y2] = polygon[(at + 1) % polygon.length];
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) * (x2 - x1)) / (y2 - y1)) inside = !inside;
  });
  return inside;
}

/**
 * Return which limits are broken, in words.
 * @param {Check[]} checked
 * @param {number} mm2
 */
export function brokenWords(checked, mm2) {
  return checked
    .filter(({ broken }) => broken)
    .map((check) => `${nameOf(check)} ${measureWords(check, mm2)}`)
    .join("; ");
}

/**
 * Return the limits with what was found, the broken ones marked.
 * @param {Check[]} checked
 * @param {number} mm2
 */
export function limitFigures(checked, mm2) {
  return h(
    "dl",
    { class: "figures checks" },
    checked.map((check) =>
      h(
        "div",
        { class: check.broken ? "broken" : "met" },
        h("dt", {}, nameOf(check)),
        h("dd", {}, measureWords(check, mm2)),
      ),
    ),
  );
}

/** @param {Check} check */
function nameOf({ region, measure }) {
  const name = t(measure === "count" ? "limit-count" : measure);
  return region ? t("named", { name: region, value: name }) : name;
}

/**
 * @param {Check} check
 * @param {number} mm2
 */
function measureWords({ measure, found, most }, mm2) {
  const words = (/** @type {number} */ value) =>
    measure !== "area"
      ? number(value, 1)
      : mm2
        ? `${number((value / 100) * mm2, 2)} mm²`
        : areaWords(value);
  return t("limit-found", { found: words(found), most: words(most) });
}
