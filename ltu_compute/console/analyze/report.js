/**
 * One page on paper: the pictures with what was found, settings, numbers, date.
 * @module
 */
import { table } from "./controls.js";
import { byId, h, replace, svg } from "./dom.js";
import { language, number, t } from "./i18n.js";
import { wireText } from "./operations.js";
import { infoOf, messageOf, placesIn, resultOf } from "./reply.js";

/** @typedef {import("./pictures.js").Picture} Picture */

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
  const now = new Intl.DateTimeFormat(language(), { dateStyle: "long", timeStyle: "short" }).format(
    new Date(),
  );
  const headline = byId("bench").querySelector(".headline")?.cloneNode(true);
  const more = lists[0].length - ROWS;
  replace(
    report,
    h("header", {}, h("h1", {}, t("report-title", { operation: title })), h("p", {}, now)),
    headline,
    messageOf(reply) && h("p", {}, messageOf(reply)),
    h(
      "div",
      { class: "pair" },
      shown.map(([name, picture], index) =>
        figure(name, picture, lists[index], name === region?.target ? region.shapes : []),
      ),
    ),
    h(
      "div",
      { class: "columns" },
      table([], numbersOf(reply), t("result-of")),
      table([], settingsOf(form.effective(), region?.words ?? ""), t("settings")),
    ),
    lists[0].length > 0 && placesTable(lists[0]),
    more > 0 && h("p", {}, t("report-more", { n: more })),
    h(
      "footer",
      {},
      `${t("report-by")}: ${account} · ${t("report-version")}: LTU Compute ${reply.version ?? ""} · ${operation.name}`,
    ),
  );
  await Promise.all([...report.querySelectorAll("img")].map((image) => image.decode()));
  report.hidden = false;
  addEventListener("afterprint", () => (report.hidden = true), { once: true });
  print();
}

/**
 * Return the places that a reply tells of on one of its pictures.
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
 * @param {import("./region.js").Shape[]} regions
 */
function figure(name, picture, places, regions) {
  const { width, height } = picture;
  const size = Math.max(width, height) / 40;
  const outlined = (/** @type {import("./geometry.js").Point[]} */ outline) => ({
    points: outline.map(({ x, y }) => `${x},${y}`).join(" "),
    "stroke-width": size / 6,
  });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}` },
    regions.map(({ points }) => svg("polygon", { ...outlined(points), class: "within" })),
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
    h("div", { class: "print" }, image, drawing),
    h("figcaption", {}, `${name}: ${picture.name}, ${width} × ${height} px`),
  );
}

/**
 * @param {any} reply
 * @returns {[string, string][]}
 */
function numbersOf(reply) {
  const plain = { score: reply.details?.score, ...infoOf(reply), ...infoOf(reply).alignment };
  return Object.entries(plain)
    .filter(([, value]) => ["number", "string"].includes(typeof value) && value !== "")
    .map(([name, value]) => [name, typeof value === "number" ? number(value, 3) : String(value)]);
}

/**
 * @param {[string, any][]} settings
 * @param {string} region
 * @returns {[string, string][]}
 */
function settingsOf(settings, region) {
  const given = settings.filter(([, value]) => value !== "");
  /** @type {[string, string][]} */
  const rows = given.map(([name, value]) => [name, wireText(value)]);
  if (region) rows.push([t("roi"), region]);
  return rows.length ? rows : [[t("no-settings"), ""]];
}

/** @param {import("./reply.js").Found[]} places */
function placesTable(places) {
  const [{ entry: first }] = places;
  const measured = typeof first.area_percent === "number";
  const digits = { maximumSignificantDigits: 3 };
  const short = new Intl.NumberFormat(language(), digits);
  return table(
    ["", "x, y", t("size"), ...(measured ? [t("area"), t("strength")] : [])],
    places
      .slice(0, ROWS)
      .map(({ box, entry }, index) => [
        `${index + 1} ${entry.name ?? ""}`,
        `${Math.round(box.x)}, ${Math.round(box.y)}`,
        `${Math.round(box.width)} × ${Math.round(box.height)} px`,
        ...(measured
          ? [`${short.format(entry.area_percent)} %`, short.format(entry.strength)]
          : []),
      ]),
    t("place"),
  );
}
