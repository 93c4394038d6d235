/**
 * OK or NG: what a shot's differences are against the limits of a good one.
 *
 * The rules are those of recipes (docs/recipes.md) and of the service: a difference whose middle is
 * in a region with limits of its own is judged by these, and by none of the others.
 * @module
 */
import { h } from "./dom.js";
import { areaWords, number, percent, t } from "./i18n.js";

export const NOT_ALIGNED = "none"; // method of a pair that was compared as it is

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {{box: Box, area_percent: number, strength: number}} Weighed a difference; its box on the reference */
/** @typedef {{max_count?: number, max_area_percent?: number, max_area_mm2?: number, max_strength?: number}} DifferenceLimits */
/** @typedef {{max_displacement_px?: number, max_displacement_mm?: number, max_turn_degrees?: number, max_scale_percent?: number}} PlacementLimits */
/** @typedef {DifferenceLimits & PlacementLimits} Limits */
/**
 * @typedef {object} Placement of a part in a shot
 * @property {number} displacement_px of the middle, in px of the reference
 * @property {number} turn_degrees
 * @property {number} scale_percent 100: as large as on the reference
 */
/** @typedef {{name: string, polygon: [number, number][], limits: DifferenceLimits}} LimitedRegion */
/**
 * @typedef {object} Rules
 * @property {Limits} limits without any of differences, a good shot has no difference
 * @property {LimitedRegion[]} regions those that have limits of their own
 * @property {number} mm2 area of the reference; 0: not known
 * @property {number} pxPerMm 0: not known
 */
/** @typedef {"count" | "area" | "strength"} DifferenceMeasure */
/**
 * @typedef {object} Check of one limit
 * @property {string} region its name; empty: the limit of all others
 * @property {DifferenceMeasure | "displacement" | "turn" | "scale"} measure
 * @property {number} found NaN: not known, as the shot was not aligned
 * @property {number} most
 * @property {boolean} broken
 */

/** @type {(keyof DifferenceLimits)[]} */
const OF_DIFFERENCES = ["max_count", "max_area_percent", "max_area_mm2", "max_strength"];

/**
 * Return how differences and placement keep to the limits.
 * @param {Weighed[]} differences
 * @param {Placement | null} placement null: not known
 * @param {Rules} rules
 * @returns {Check[]}
 */
export function judged(differences, placement, { limits, regions, mm2, pxPerMm }) {
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
  const none = OF_DIFFERENCES.every((name) => limits[name] === undefined);
  return [
    ...checks("", others, none ? { max_count: 0 } : limits, mm2),
    ...regions.flatMap((region, at) => checks(region.name, within[at], region.limits, mm2)),
    ...placementChecks(placement, limits, pxPerMm),
  ];
}

/**
 * Return how a part is placed in a shot; null where the shot was not aligned.
 * @param {any} alignment of a reply
 * @param {{width: number, height: number}} reference
 * @param {{width: number, height: number}} shot
 * @returns {Placement | null}
 */
export function placementOf(alignment, reference, shot) {
  const { method, displacement_x_px: right, displacement_y_px: down, turn_degrees, scale } = alignment;
  if (method === NOT_ALIGNED) return null;
  const [across, along] = [reference.width / shot.width, reference.height / shot.height];
  return {
    displacement_px: Math.hypot(right * across, down * along),
    turn_degrees,
    scale_percent: 100 * scale * Math.sqrt(across * along),
  };
}

/**
 * @param {Placement | null} placement
 * @param {PlacementLimits} limits
 * @param {number} pxPerMm
 * @returns {Check[]}
 */
function placementChecks(placement, limits, pxPerMm) {
  /** @type {[Check["measure"], number | undefined, number][]} */
  const measured = [
    ["displacement", placement?.displacement_px, displacementLimit(limits, pxPerMm)],
    ["turn", placement ? Math.abs(placement.turn_degrees) : undefined, limits.max_turn_degrees ?? Infinity],
    ["scale", placement ? Math.abs(placement.scale_percent - 100) : undefined, limits.max_scale_percent ?? Infinity],
  ];
  return measured
    .filter(([, , most]) => most < Infinity)
    .map(([measure, found = NaN, most]) => ({ region: "", measure, found, most, broken: !(found <= most) }));
}

/**
 * Return the limit of the displacement in px, the stricter one of two.
 * @param {PlacementLimits} limits
 * @param {number} pxPerMm
 */
function displacementLimit({ max_displacement_px: px = Infinity, max_displacement_mm: mm }, pxPerMm) {
  return mm === undefined || !pxPerMm ? px : Math.min(px, mm * pxPerMm);
}

/**
 * @param {string} region
 * @param {Weighed[]} differences
 * @param {DifferenceLimits} limits
 * @param {number} mm2
 * @returns {Check[]}
 */
function checks(region, differences, limits, mm2) {
  const area = differences.reduce((sum, each) => sum + each.area_percent, 0);
  const strength = Math.max(0, ...differences.map((each) => each.strength));
  const byScale = mm2 ? (100 * (limits.max_area_mm2 ?? Infinity)) / mm2 : Infinity;
  /** @type {[DifferenceMeasure, number, number][]} */
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
 * Return the limits with areas in percent and distances in px, as an inspection takes them.
 * @param {Rules} rules
 * @returns {Limits}
 */
export function plainLimits({ limits, mm2, pxPerMm }) {
  const { max_area_mm2: byScale, max_displacement_mm: _, ...rest } = limits;
  const displacement = displacementLimit(limits, pxPerMm);
  if (displacement < Infinity) rest.max_displacement_px = displacement;
  if (byScale !== undefined && mm2) {
    rest.max_area_percent = Math.min(rest.max_area_percent ?? Infinity, (100 * byScale) / mm2);
  }
  return rest;
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
 * @param {Rules} rules
 */
export function brokenWords(checked, rules) {
  return checked
    .filter(({ broken }) => broken)
    .map((check) => `${nameOf(check)} ${measureWords(check, rules)}`)
    .join("; ");
}

/**
 * Return the limits with what was found, the broken ones marked.
 * @param {Check[]} checked
 * @param {Rules} rules
 */
export function limitFigures(checked, rules) {
  return h(
    "dl",
    { class: "figures checks" },
    checked.map((check) =>
      h(
        "div",
        { class: check.broken ? "broken" : "met" },
        h("dt", {}, nameOf(check)),
        h("dd", {}, measureWords(check, rules)),
      ),
    ),
  );
}

/** @type {Record<string, string>} */
const NAMES = { count: "limit-count", displacement: "limit-displacement", turn: "limit-turn", scale: "limit-scale" };

/** @param {Check} check */
function nameOf({ region, measure }) {
  const name = t(measure in NAMES ? NAMES[measure] : measure);
  return region ? t("named", { name: region, value: name }) : name;
}

/**
 * @param {Check} check
 * @param {Rules} rules
 */
function measureWords({ measure, found, most }, { mm2, pxPerMm }) {
  /** @param {number} value */
  const words = (value) => {
    if (measure === "area") return mm2 ? `${number((value / 100) * mm2, 2)} mm²` : areaWords(value);
    if (measure === "displacement") {
      return pxPerMm ? `${number(value / pxPerMm, 2)} mm` : `${number(value, 1)} px`;
    }
    if (measure === "turn") return `${number(value, 2)}°`;
    return measure === "scale" ? percent(value / 100, 2) : number(value, 1);
  };
  return t("limit-found", { found: Number.isNaN(found) ? "?" : words(found), most: words(most) });
}
