/**
 * Parts of a queue: what was found of each, its verdict, and lists of them for other programs.
 * @module
 */
import { h } from "./dom.js";
import { language, number, percent, t, translated } from "./i18n.js";
import { infoOf, resultOf } from "./reply.js";
import { brokenWords, judged, placementOf } from "./verdict.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./verdict.js").Rules} Rules */
/** @typedef {"" | "OK" | "NG" | "ERROR"} Verdict */
/** @typedef {{box: Box, shot: Box, area_percent: number, strength: number}} Found a difference, with its boxes on both */
/**
 * @typedef {object} Outcome of a comparison
 * @property {Found[]} differences
 * @property {boolean} aligned
 * @property {import("./verdict.js").Placement | null} placement null: not known
 * @property {boolean} apart nothing of the reference was found
 * @property {string} error why there was no comparison; else empty
 * @property {string} [code] kind of error, as the service names it; an earlier version kept none
 * @property {{verdict: Verdict, reason: string} | null} said by the service, where only it knows the limits
 */
/**
 * @typedef {object} Part
 * @property {number} id
 * @property {string} name
 * @property {Blob | undefined} file undefined: not kept
 * @property {Outcome | null} outcome null: not inspected yet
 * @property {string} under key of what it was compared with and how
 * @property {"" | "OK" | "NG"} decision of the one who looked at it
 */

const CLOSE_UPS = 60; // in an exported page: so many parts
const OF_A_PART = 3; // close-ups
const SIDE_PX = 180; // of a close-up
const AROUND = 2; // sides of a difference that are shown
const LEAST_PX = 48; // of the picture in a close-up

/**
 * @param {string} error
 * @param {string} [code] by which it is said in the language of the page
 * @returns {Outcome}
 */
export function failed(error, code = "") {
  return { differences: [], aligned: false, placement: null, apart: false, error, code, said: null };
}

/** @returns {Outcome} */
export function apart() {
  return { ...failed(""), apart: true };
}

/**
 * Return the outcome that a result of an inspection states.
 * @param {any} row
 * @param {boolean} byRecipe whether the limits are known to the service only
 * @returns {Outcome}
 */
export function outcomeOf(row, byRecipe) {
  const { verdict, reason, count, aligned, differences } = row;
  const { displacement_px, turn_degrees, scale_percent } = row;
  if (verdict === "ERROR") return failed(reason, row.code ?? "");
  if (count === null) return apart();
  return {
    differences: differences.map((/** @type {any} */ each) => ({
      box: boxOf(each.on_reference),
      shot: boxOf(each.on_shot),
      area_percent: each.area_percent,
      strength: each.strength,
    })),
    aligned: aligned !== false,
    placement: displacement_px === null ? null : { displacement_px, turn_degrees, scale_percent },
    apart: false,
    error: "",
    said: byRecipe ? { verdict, reason } : null,
  };
}

/**
 * Return the outcome that a reply of the page's own comparison states.
 * @param {any} reply
 * @param {{width: number, height: number}} reference
 * @param {{width: number, height: number}} shot
 * @returns {Outcome}
 */
export function outcomeOfReply(reply, reference, shot) {
  const { diffOnImage1: first, diffOnImage2: second } = resultOf(reply);
  return {
    differences: first.map((/** @type {any} */ each, /** @type {number} */ at) => ({
      box: each.boundingBox,
      shot: second[at].boundingBox,
      area_percent: each.area_percent,
      strength: each.strength,
    })),
    aligned: infoOf(reply).alignment.method !== "none",
    placement: placementOf(infoOf(reply).alignment, reference, shot),
    apart: false,
    error: "",
    said: null,
  };
}

/**
 * @param {number[]} corners x, y, width and height
 * @returns {Box}
 */
function boxOf([x, y, width, height]) {
  return { x, y, width, height };
}

/**
 * Return the verdict on a part, and why.
 * @param {Part} part
 * @param {Rules} rules
 * @returns {{verdict: Verdict, reason: string}}
 */
export function verdictOf({ outcome }, rules) {
  if (!outcome) return { verdict: "", reason: "" };
  if (outcome.error) {
    const reason = translated(outcome.code ?? "", outcome.error, { parameter: "" });
    return { verdict: "ERROR", reason };
  }
  if (outcome.apart) return { verdict: "NG", reason: t("not-the-same") };
  if (outcome.said) return outcome.said;
  const reason = brokenWords(judged(outcome.differences, outcome.placement ?? null, rules), rules);
  if (reason && !outcome.aligned && outcome.differences.length) return { verdict: "NG", reason: t("unaligned") };
  return { verdict: reason ? "NG" : "OK", reason };
}

/**
 * Return the parts as a table (RFC 4180), for spreadsheets.
 * @param {Part[]} parts
 * @param {Rules} rules
 */
export function asCsv(parts, rules) {
  const heads = ["number", "shot", "verdict", "decision", "reason", "differences", "area_percent", "max_strength", "displacement_px", "turn_degrees", "scale_percent", "aligned"];
  const rows = parts.map((part, at) => {
    const { verdict, reason } = verdictOf(part, rules);
    const { outcome } = part;
    const known = outcome && !outcome.error && !outcome.apart;
    const numbers = known
      ? [count(outcome), area(outcome).toFixed(4), strength(outcome).toFixed(2), ...placed(outcome), outcome.aligned]
      : Array(7).fill("");
    return [at + 1, part.name, verdict, part.decision, reason, ...numbers];
  });
  return `\ufeff${[heads, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

/**
 * Return a value as a cell; a text that a spreadsheet would compute gets an apostrophe before it.
 * @param {unknown} value
 */
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {Outcome} outcome */
function count({ differences }) {
  return differences.length;
}

/** @param {Outcome} outcome */
function placed({ placement }) {
  if (!placement) return ["", "", ""];
  const { displacement_px: displacement, turn_degrees: turn, scale_percent: scale } = placement;
  return [displacement.toFixed(2), turn.toFixed(3), scale.toFixed(2)];
}

/** @param {Outcome} outcome */
function area({ differences }) {
  return differences.reduce((sum, each) => sum + each.area_percent, 0);
}

/** @param {Outcome} outcome */
function strength({ differences }) {
  return Math.max(0, ...differences.map((each) => each.strength));
}

/**
 * Return the parts as a page of its own, with close-ups of the first that are not OK.
 * @param {Part[]} parts
 * @param {Rules} rules
 * @param {object} given
 * @param {import("./pictures.js").Picture} given.reference
 * @param {[string, string][]} given.about limits and settings in words
 * @param {string} given.under key of how shots are compared now
 * @param {(under: string) => [string, string][]} given.describe what such a key says, in words
 */
export async function asPage(parts, rules, { reference, about, under, describe }) {
  const ways = [...new Set(parts.filter(({ outcome }) => outcome).map((part) => part.under))];
  const several = ways.some((way) => way !== under);
  const judgedParts = parts.map((part) => ({ part, ...verdictOf(part, rules) }));
  const counted = ["NG", "ERROR", "OK", ""].map((verdict) => {
    const n = judgedParts.filter((each) => each.verdict === verdict).length;
    return n ? t("named", { name: t(`verdict-${verdict || "none"}`), value: number(n) }) : "";
  });
  const bad = judgedParts.filter(({ verdict, part }) => verdict === "NG" && part.file);
  /** @type {Map<Part, HTMLElement[]>} */
  const shown = new Map();
  const whole = await createImageBitmap(reference.blob);
  for (const { part } of bad.slice(0, CLOSE_UPS)) shown.set(part, await closeUps(part, whole));
  whole.close();
  const page = h(
    "main",
    {},
    h("h1", {}, t("shots")),
    h("p", {}, new Date().toLocaleString(language(), { dateStyle: "long", timeStyle: "short" })),
    h("p", { class: "counted" }, counted.filter(Boolean).join(" · ")),
    list([[t("reference"), reference.name], ...about]),
    several && ways.flatMap((way, at) => [h("h2", {}, `${t("settings")} ${letter(at)}`), list(describe(way))]),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["#", t("shot"), t("verdict"), t("decision"), t("reason"), several && t("settings"), ""].map((head) => head !== false && h("th", { scope: "col" }, head)))),
      h(
        "tbody",
        {},
        judgedParts.map(({ part, verdict, reason }, at) =>
          h(
            "tr",
            {},
            h("td", { class: "at" }, String(at + 1)),
            h("th", { scope: "row", dir: "auto" }, part.name),
            h("td", { class: `verdict ${verdict.toLowerCase() || "none"}` }, t(`verdict-${verdict || "none"}`)),
            h("td", {}, part.decision && t(`verdict-${part.decision}`)),
            h("td", {}, reason),
            several && h("td", {}, part.outcome && letter(ways.indexOf(part.under))),
            h("td", {}, shown.get(part) ?? []),
          ),
        ),
      ),
    ),
  );
  const style =
    "body{font:14px/1.4 system-ui,sans-serif;margin:24px;color:#16191d;background:#fff}h1{margin:0}h2{font-size:14px;margin:16px 0 4px}" +
    "table{border-collapse:collapse;width:100%}td,th{padding:4px 10px 4px 0;border-bottom:1px solid #d2d6dc;text-align:left;vertical-align:top;font-weight:400;overflow-wrap:anywhere}" +
    "thead th{color:#545c66}.counted{font-size:20px;font-weight:600}dl{display:grid;grid-template-columns:auto 1fr;gap:2px 16px}dt{color:#545c66}dd{margin:0}" +
    "thead th,.verdict,.at{white-space:nowrap}.verdict{font-weight:700;color:#14713a}.ng,.error{color:#b3261e}.none{color:#545c66;font-weight:400}img{height:90px;margin-right:6px}";
  // Names of files and recipes are text in it; should one ever be markup, it reaches nobody.
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
  const head = `<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><title>${t("shots")}</title><style>${style}</style>`;
  return `<!doctype html><html lang="${language()}"><head>${head}</head><body>${page.outerHTML}</body></html>`;
}

/** @param {[string, string][]} rows */
function list(rows) {
  return h("dl", {}, rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/**
 * Return the name of the settings that rows of a page share.
 * @param {number} at
 */
function letter(at) {
  return at < 26 ? String.fromCharCode(65 + at) : String(at + 1);
}

/**
 * Return close-ups of the largest differences: the reference on the left, the shot on the right.
 * @param {Part} part
 * @param {ImageBitmap} reference
 * @returns {Promise<HTMLElement[]>} none where the shot cannot be read
 */
async function closeUps({ file, outcome }, reference) {
  if (!file || !outcome) return [];
  /** @type {ImageBitmap} */
  let shot;
  try {
    shot = await createImageBitmap(file);
  } catch (error) {
    if (error instanceof DOMException) return [];
    throw error;
  }
  const canvas = h("canvas", { width: 2 * SIDE_PX + 4, height: SIDE_PX });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser has no 2D canvas");
  const sorted = [...outcome.differences].sort((one, other) => other.area_percent - one.area_percent);
  const left = sorted.length - OF_A_PART;
  const images = sorted.slice(0, OF_A_PART).map((found, at) => {
    context.clearRect(0, 0, canvas.width, canvas.height);
    cut(context, reference, found.box, 0);
    cut(context, shot, found.shot, SIDE_PX + 4);
    const alt = `${t("differences", { n: 1 })} ${at + 1}, ${percent(found.area_percent / 100, 2)}`;
    return h("img", { src: canvas.toDataURL("image/jpeg", 0.85), alt });
  });
  shot.close();
  return left > 0 ? [...images, h("p", {}, t("shots-more", { n: left }))] : images;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ImageBitmap} picture
 * @param {Box} box
 * @param {number} left where it goes
 */
function cut(context, picture, { x, y, width, height }, left) {
  const side = Math.max(LEAST_PX, AROUND * Math.max(width, height));
  const [from, top] = [x + (width - side) / 2, y + (height - side) / 2];
  context.save();
  context.beginPath();
  context.rect(left, 0, SIDE_PX, SIDE_PX);
  context.clip();
  const scale = SIDE_PX / side;
  context.translate(left, 0);
  context.scale(scale, scale);
  context.drawImage(picture, -from, -top);
  context.strokeStyle = "#ff1f7d";
  context.lineWidth = 2 / scale;
  context.strokeRect(x - from, y - top, width, height);
  context.restore();
}
