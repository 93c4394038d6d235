/**
 * Parts, pictures and boxes of any reply, whatever the operation.
 * @module
 */
import { boxAround } from "./geometry.js";
import { known, number, percent, t, translated } from "./i18n.js";
import { wireText } from "./operations.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {{path: string, type: string, base64: string, url: string}} ReplyPicture */
/** @typedef {{path: string, box: Box, outline: Point[], entry: any}} Found */

/** @param {any} reply */
export function resultOf(reply) {
  return reply.result ?? reply.content ?? reply;
}

/** @param {any} reply */
export function infoOf(reply) {
  return reply.details?.info ?? reply.info ?? {};
}

/** @param {any} reply */
export function messageOf(reply) {
  const { remarks } = infoOf(reply);
  if (!remarks) return String(reply.details?.message ?? "");
  return remarks
    .map((/** @type {any} */ { code, message, values }) => translated(code, message, values))
    .join(" ");
}

/**
 * Return the plain numbers and words of a part of a reply, as the page names and shows them.
 * @param {Record<string, any>} part
 * @returns {[string, string][]}
 */
export function numbersOf(part) {
  return Object.entries(part)
    .filter(([name, value]) => isTold(name, value))
    .map(([name, value]) => [wordsOf(name), measured(name, value)]);
}

/**
 * @param {string} name
 * @param {any} value
 */
function isTold(name, value) {
  if (value === null) return name.endsWith("_px"); // not known
  return ["number", "string"].includes(typeof value) && value !== "";
}

/**
 * Return a number of the reply as the page shows it.
 * @param {string} name
 * @param {number | string | null} value
 */
function measured(name, value) {
  if (value === null) return "–";
  if (typeof value === "string") return known(`=${name}.${value}`) ?? value;
  if (name === "compared") return percent(value);
  return `${number(value, 3)}${name.endsWith("_px") ? " px" : ""}`;
}

/**
 * Return what the page calls something that the service names.
 * @param {string} name
 */
export function wordsOf(name) {
  const spaced = name.replaceAll("_", " ");
  return known(`=${name}`) ?? spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/**
 * Return the value of a setting as the page shows it.
 * @param {string} name on the wire, with that of its object
 * @param {any} value
 */
export function settingWords(name, value) {
  if (typeof value === "number") return number(value, 6);
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  return known(`=${name.split(".").at(-1)}.${value}`) ?? wireText(value);
}

/**
 * Return the name and the value of a setting as the page shows them.
 * @param {string} name
 * @param {any} value
 */
export function settingOf(name, value) {
  return `${wordsOf(name)} ${settingWords(name, value)}`;
}

/**
 * Return every picture in a reply, with the names that lead to it.
 * @param {any} reply
 * @returns {ReplyPicture[]}
 */
export function picturesIn(reply) {
  /** @type {ReplyPicture[]} */
  const found = [];
  walk(reply, "", (value, path) => {
    if (value.encoding !== "base64" || typeof value.value !== "string") return;
    found.push({ path, type: value.format, base64: value.value, url: dataUrl(value) });
  });
  return found;
}

/** @param {{format: string, value: string}} picture */
export function dataUrl({ format, value }) {
  return `data:${format};base64,${value}`;
}

/**
 * Return every place in a reply: boxes, outlines relative to them, vertices in px or in shares.
 * @param {any} reply
 * @param {number} width of the picture, px
 * @param {number} height
 * @returns {Found[]}
 */
export function placesIn(reply, width, height) {
  /** @type {Found[]} */
  const found = [];
  walk(reply, "", (value, path) => {
    const outline = outlineOf(value, width, height);
    if (outline)
      found.push({ path, outline, box: value.boundingBox ?? boxAround(outline), entry: value });
  });
  return found;
}

/**
 * Return the outline, in px, of an entry of a reply that has one.
 * @param {any} entry
 * @param {number} width
 * @param {number} height
 * @returns {Point[] | null}
 */
export function outlineOf(entry, width, height) {
  const box = entry.boundingBox;
  if (box && typeof box.width === "number") {
    const { x, y } = box;
    const relative = entry.relativeVertices;
    if (relative?.length > 2) {
      return relative.map((/** @type {Point} */ v) => ({ x: x + v.x + 0.5, y: y + v.y + 0.5 }));
    }
    const [right, bottom] = [x + box.width, y + box.height];
    return [
      { x, y },
      { x: right, y },
      { x: right, y: bottom },
      { x, y: bottom },
    ];
  }
  const shares = entry.boundingPoly?.normalizedVertices ?? entry.normalizedVertices;
  if (shares?.length) {
    return shares.map((/** @type {Point} */ v) => ({
      x: (v.x ?? 0) * width,
      y: (v.y ?? 0) * height,
    }));
  }
  if (Array.isArray(entry.matchingBox)) {
    return entry.matchingBox.map((/** @type {number[]} */ [x, y]) => ({
      x: x * width,
      y: y * height,
    }));
  }
  return null;
}

/**
 * Return a reply with its long texts shortened, to be read.
 * @param {any} reply
 */
export function readable(reply) {
  const shortened = (/** @type {string} */ _, /** @type {any} */ value) =>
    typeof value === "string" && value.length > 200
      ? `${value.slice(0, 60)}… (${value.length})`
      : value;
  return JSON.stringify(reply, shortened, 2);
}

/**
 * @param {any} value
 * @param {string} path
 * @param {(value: any, path: string) => void} visit objects only
 */
function walk(value, path, visit) {
  if (value === null || typeof value !== "object") return;
  if (!Array.isArray(value)) visit(value, path);
  for (const [name, inner] of Object.entries(value)) {
    walk(inner, path ? `${path}.${name}` : name, visit);
  }
}
