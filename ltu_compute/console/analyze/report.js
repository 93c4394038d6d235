/**
 * One page on paper: the pictures with what was found, settings, numbers, date.
 * @module
 */
import { closeUps } from "./close-up.js";
import { table } from "./controls.js";
import { byId, h, replace, svg } from "./dom.js";
import { boxAround } from "./geometry.js";
import { areaWords, language, number, t } from "./i18n.js";
import { isUpright } from "./region.js";
import { infoOf, messageOf, numbersOf, placesIn, resultOf, settingWords, wordsOf } from "./reply.js";

/** @typedef {import("./pictures.js").Picture} Picture */

const CLOSE_UP = { width: 56, height: 42 }; // CSS px, so that five are beside each other
const ROWS = 10; // of places, so that the report stays on its page

/**
 * @param {import("./desk.js").Desk} desk
 * @param {string} title
 * @param {string} account
 */
export async function printReport({ operation, form, sent, region, reply }, title, account) {
  const report = byId("report");
  const shown = Object.entries(sent).filter(
    ([name]) => !operation.pictures.some((p) => p.name === name && !p.required),
  );
  const lists = shown.map(([, picture], index) => placesOn(reply, picture, index, shown.length));
  const sums = await Promise.all(shown.map(([, picture]) => sumOf(picture.blob)));
  const now = new Intl.DateTimeFormat(language(), { dateStyle: "long", timeStyle: "short" }).format(
    new Date(),
  );
  const headline = byId("bench").querySelector(".headline")?.cloneNode(true);
  const limits = byId("bench").querySelector(".checks")?.cloneNode(true); // with what was found
  const more = lists[0].length - ROWS;
  replace(
    report,
    h("header", {}, h("h1", {}, t("report-title", { operation: title })), h("p", {}, now)),
    headline,
    limits,
    messageOf(reply) && h("p", {}, messageOf(reply)),
    h(
      "div",
      { class: "pair" },
      shown.map(([name, picture], index) =>
        figure(name, picture, lists[index], sums[index], name === region?.target ? region : null),
      ),
    ),
    h(
      "div",
      { class: "columns" },
      table([], numbersOf(plainOf(reply)), t("result-of")),
      table([], [...settingsOf(form), ...regionOf(region)], t("settings")),
    ),
    lists.length > 1 && lists[0].length > 0 && closeUpsOf(lists, shown, resultOf(reply).matOn2),
    lists[0].length > 0 &&
      placesTable(
        lists,
        shown.map(([name]) => name),
      ),
    more > 0 && h("p", {}, t("report-more", { n: more })),
    h(
      "footer",
      {},
      account && `${t("report-by", { name: account })} · `,
      `${t("report-version", { version: reply.version ?? "" })} · ${operation.name}`,
    ),
  );
  await Promise.all([...report.querySelectorAll("img")].map((image) => image.decode()));
  report.hidden = false;
  const done = () => {
    report.hidden = true;
    replace(report);
  };
  addEventListener("afterprint", done, { once: true });
  print();
}

/**
 * Return the places of a reply on one of its pictures.
 * @param {any} reply
 * @param {Picture} picture
 * @param {number} index
 * @param {number} count of pictures
 */
function placesOn(reply, { width, height }, index, count) {
  const result = resultOf(reply);
  const parts = Object.entries(result);
  const own =
    count < 2
      ? result
      : (result[`diffOnImage${index + 1}`] ??
        parts.find(([name]) => name === ["reference", "query"][index])?.[1] ??
        null);
  return placesIn(own, width, height);
}

/**
 * @param {string} name
 * @param {Picture} picture
 * @param {import("./reply.js").Found[]} places
 * @param {string} sum SHA-256 of the file; empty: not known
 * @param {import("./region.js").RegionEditor | null} region
 */
function figure(name, picture, places, sum, region) {
  const { width, height } = picture;
  const size = Math.max(width, height) / 40;
  const outlined = (/** @type {import("./geometry.js").Point[]} */ outline) => ({
    points: outline.map(({ x, y }) => `${x},${y}`).join(" "),
    "stroke-width": size / 6,
  });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}` },
    region?.shapes.map(({ points, use }) =>
      svg("polygon", { ...outlined(points), class: `within ${use}` }),
    ),
    places.flatMap(({ outline, box }, index) => {
      const { x, y } = box;
      return [
        svg("polygon", outlined(outline)),
        svg("text", { x, y: Math.max(y - size / 4, size), "font-size": size }, String(index + 1)),
      ];
    }),
  );
  const image = h("img", { src: picture.url, alt: picture.name });
  return h(
    "figure",
    {},
    h(
      "div",
      { class: "print" },
      image,
      region && !region.empty && h("img", { src: region.dim.toDataURL(), alt: "", class: "dim" }),
      drawing,
    ),
    h(
      "figcaption",
      {},
      h("p", {}, t("named", { name, value: `${picture.name}, ${width} × ${height} px` })),
      sum && h("p", { class: "sum" }, t("named", { name: "SHA-256", value: sum })),
    ),
  );
}

/**
 * Return the first differences before and after.
 * @param {import("./reply.js").Found[][]} lists by picture
 * @param {[string, Picture][]} shown
 * @param {number[] | undefined} matrix from the second picture to the first
 */
function closeUpsOf([first, second], shown, matrix) {
  const pictures = shown.map(([, picture]) => picture);
  return h(
    "ol",
    { class: "compared" },
    first.slice(0, ROWS).map(({ box }, index) => {
      const other = second[index]?.box ?? box;
      return h("li", {}, h("b", {}, String(index + 1)), closeUps(pictures, [box, other], matrix, CLOSE_UP));
    }),
  );
}

/**
 * Return the plain numbers of a reply.
 * @param {any} reply
 */
function plainOf(reply) {
  const info = infoOf(reply);
  return { score: reply.details?.score, ...info, ...info.alignment };
}

/**
 * @param {import("./form.js").Form} form
 * @returns {[string, string][]}
 */
function settingsOf(form) {
  const given = form.effective().filter(([, value]) => value !== "");
  /** @type {[string, string][]} */
  const rows = given.map(([name, value]) => [
    name.split(".").map(wordsOf).join(" · "),
    name === "preset" && form.presetName
      ? `${form.presetName}, ${t("preset-number", { n: value })}`
      : settingWords(name, value),
  ]);
  return rows.length ? rows : [[t("no-settings"), ""]];
}

/**
 * Return where the region of interest is, in px of its picture.
 * @param {import("./region.js").RegionEditor | null} region
 * @returns {[string, string][]}
 */
export function regionOf(region) {
  if (!region) return [];
  const px = (/** @type {number} */ value) => String(Math.round(value));
  /** @type {[string, string][]} */
  const rows = region.shapes.map((shape) => {
    const { points } = shape;
    const { x, y, width, height } = boxAround(points);
    const where = isUpright(points)
      ? `x ${px(x)}, y ${px(y)}, ${px(width)} × ${px(height)} px`
      : points.map((point) => `(${px(point.x)}, ${px(point.y)})`).join(" ");
    return [t(`roi-${shape.use}d`, { name: region.nameOf(shape) }), where];
  });
  return rows;
}

/**
 * Return the SHA-256 of a file; browsers give it to pages of https and of this machine alone.
 * @param {Blob} blob
 */
async function sumOf(blob) {
  if (!globalThis.isSecureContext) return "";
  const sum = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
  return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {import("./reply.js").Found[][]} lists by picture
 * @param {string[]} names of the pictures
 */
function placesTable(lists, names) {
  const [places] = lists;
  const [{ entry: first }] = places;
  const weighed = typeof first.area_percent === "number";
  return table(
    [
      "",
      ...names.map((name) => `${name} x, y`),
      t("size"),
      ...(weighed ? [t("area"), t("strength")] : []),
    ],
    places
      .slice(0, ROWS)
      .map(({ box, entry }, index) => [
        `${index + 1} ${entry.name ?? ""}`,
        ...lists.map((list) => corner(list[index])),
        `${Math.round(box.width)} × ${Math.round(box.height)} px`,
        ...(weighed ? [areaWords(entry.area_percent), number(entry.strength, 1)] : []),
      ]),
    t("place"),
  );
}

/** @param {import("./reply.js").Found | undefined} found */
function corner(found) {
  return found ? `${Math.round(found.box.x)}, ${Math.round(found.box.y)}` : "–";
}
