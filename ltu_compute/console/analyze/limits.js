/**
 * The limits of a good shot, as fields of the panel.
 * @module
 */
import { newId, numberField, section } from "./controls.js";
import { h } from "./dom.js";
import { read, t } from "./i18n.js";

/** @typedef {import("./verdict.js").Limits} Limits */
/**
 * @typedef {object} Judging what the user has set
 * @property {Limits} limits
 * @property {Record<string, import("./verdict.js").DifferenceLimits>} regionLimits by names of regions; recipes state them
 * @property {number} pxPerMm 0: not known
 * @property {boolean} open
 */

/** @returns {Judging} */
export function firstJudging() {
  return { limits: { max_count: 0 }, regionLimits: {}, pxPerMm: 0, open: true };
}

/** @typedef {{maximum?: number, whole?: boolean}} Allowed */

/** @type {[keyof Limits, Allowed][]} names of recipes, and what their fields allow */
const FIELDS = [
  ["max_count", { maximum: 999, whole: true }],
  ["max_area_percent", { maximum: 100 }],
  ["max_area_mm2", {}],
  ["max_strength", { maximum: 1000 }],
];
/** @type {typeof FIELDS} limits of where and how the part is */
const PLACEMENT = [
  ["max_displacement_px", {}],
  ["max_displacement_mm", {}],
  ["max_turn_degrees", { maximum: 180 }],
  ["max_scale_percent", { maximum: 100 }],
];
const BY_SCALE = /** @type {const} */ (["max_area_mm2", "max_displacement_mm"]);

/**
 * Return the section of the panel.
 * @param {Judging} judging changed in place
 * @param {() => void} onchange
 */
export function limitsSection(judging, onchange) {
  /** @type {Map<string, HTMLElement>} */
  const rows = new Map();
  const draw = (/** @type {typeof FIELDS} */ fields) =>
    fields.map(([name, allowed]) => {
      const row = field(name, allowed, judging.limits[name], (value) => {
        if (value === undefined) delete judging.limits[name];
        else judging.limits[name] = name === "max_count" ? Math.trunc(value) : value;
        onchange();
      });
      rows.set(name, row);
      return row;
    });
  const scale = field("px_per_mm", {}, judging.pxPerMm || undefined, (value) => {
    judging.pxPerMm = value ?? 0;
    showByScale();
    if (!value) for (const name of BY_SCALE) delete judging.limits[name];
    onchange();
  });
  const placed = PLACEMENT.some(([name]) => judging.limits[name] !== undefined);
  const placement = h(
    "details",
    { class: "more", open: placed },
    h("summary", {}, t("placement")),
    h("p", { class: "help" }, t("placement-help")),
    h("div", { class: "limit-fields" }, draw(PLACEMENT)),
  );
  const showByScale = () => {
    for (const name of BY_SCALE) rows.get(name)?.toggleAttribute("hidden", !judging.pxPerMm);
  };
  const whole = section(
    t("limits"),
    judging.open,
    h("p", { class: "help" }, t("limits-help")),
    h("div", { class: "limit-fields" }, draw(FIELDS), scale),
    placement,
  );
  showByScale();
  whole.id = "limits";
  whole.addEventListener("toggle", () => (judging.open = whole.open));
  return whole;
}

/**
 * @param {string} name
 * @param {Allowed} allowed
 * @param {number | undefined} value
 * @param {(value: number | undefined) => void} give undefined: no limit
 */
function field(name, allowed, value, give) {
  const input = numberField({ id: newId(name), name, placeholder: "–" }, { minimum: 0, ...allowed }, value);
  const most = allowed.maximum ?? Infinity;
  const problem = h("span", { class: "problem", id: `${input.id}-problem`, role: "alert" });
  input.addEventListener("input", () => {
    const given = read(input.value);
    if (given === undefined || (given >= 0 && given <= most)) {
      input.removeAttribute("aria-invalid");
      input.removeAttribute("aria-describedby");
      problem.textContent = "";
      give(given);
      return;
    }
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", problem.id);
    const range = most < Infinity ? t("limit-range", { most }) : t("limit-least");
    problem.textContent = `${range} ${t("limit-before")}`;
  });
  const label = h("label", { class: "limit" }, h("span", {}, t(name)), input);
  return h("div", {}, label, problem);
}
