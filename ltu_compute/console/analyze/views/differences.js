/**
 * differences: their number, boxes on both pictures, swipe and blink, and a list that zooms.
 * @module
 */
import { figures, folded, readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { boxAround, project } from "../geometry.js";
import { areaWords, number, percent, t } from "../i18n.js";
import { NOT_ALIGNED, judged, limitFigures, placementOf } from "../verdict.js";
import { dataUrl, messageOf, numbersOf, outlineOf } from "../reply.js";
import { closeUps } from "../close-up.js";
import { marksToggle, showMarks } from "./marks.js";
import { comparePair } from "./over.js";

const CLOSE_UP = { width: 84, height: 63 }; // CSS px

/** First values of the form: the matrices overlay the pictures. */
export const start = { transform: true };

/** @param {import("./index.js").Context} context */
export function show(context) {
  const { reply, result, info, panes, bench, details, memo, rules } = context;
  const { diffOnImage1: first, diffOnImage2: second, matOn1, matOn2 } = result;
  const { count, compared, alignment } = info;
  const px = (/** @type {number | null} */ value) =>
    value === null ? "–" : `${number(value, 2)} px`;
  const [reference, shot] = context.pictures;
  const checked = judged(weighed(result), placementOf(alignment, reference, shot), rules);
  const by = info.recipe; // whose verdict is by the same rules
  const broken = by ? by.verdict === "NG" : checked.some((check) => check.broken);
  const apart = broken && count > 0 && alignment.method === NOT_ALIGNED;
  const counted = `${number(count)} ${t("differences", { n: count })}`;
  replace(
    bench.readout,
    readout(
      t(broken ? "verdict-NG" : "verdict-OK"),
      apart ? t("unaligned") : counted,
      [],
      broken ? "bad" : "good",
    ),
    !apart && limitFigures(checked, rules),
    figures([
      ...(by ? [/** @type {[string, string]} */ ([t("by-recipe"), by.name])] : []),
      [t("score"), number(reply.details.score, 2)],
      [t("compared"), percent(compared)],
      [t("alignment"), `± ${px(alignment.residual_px)}`],
    ]),
    messageOf(reply) && h("p", { class: "reservation" }, messageOf(reply)),
  );
  if (matOn1 && matOn2) {
    bench.link((point, from) => project(from === panes[0] ? matOn1 : matOn2, point));
  } else {
    bench.link(({ x, y }, from) => {
      const other = from === panes[0] ? panes[1] : panes[0];
      return { x: (x / from.width) * other.width, y: (y / from.height) * other.height };
    });
  }
  const marks = first.map((/** @type {any} */ entry, /** @type {number} */ index) => ({
    places: [place(entry, panes[0]), place(second[index], panes[1])],
    tag: String(index + 1),
    title: `${t("area")} ${areaWords(entry.area_percent)}`,
    detail: `${t("strength")} ${number(entry.strength, 1)} · x\u00a0${entry.boundingBox.x},\u00a0y\u00a0${entry.boundingBox.y}`,
    zoomLabel: t("zoom-to", { n: index + 1 }),
    picture: closeUps(
      context.pictures,
      [entry.boundingBox, second[index].boundingBox],
      matOn2,
      CLOSE_UP,
    ),
  }));
  const chosen = {
    selected: memo.selected ?? -1,
    onselect: (/** @type {number} */ index) => {
      memo.selected = index;
      const spot = place(second[index], bench.over);
      if (spot && bench.over.element.isConnected) bench.over.zoomTo(spot.box);
    },
  };
  replace(
    details,
    marks.length ? showMarks(panes, marks, chosen) : h("p", { class: "muted" }, t("none-differs")),
    folded(numbersOf(alignment)),
  );
  [first, second].forEach((entries, at) => {
    for (const entry of entries) if (entry.mask) layMask(entry, panes[at]);
  });
  if (marks.length) replace(bench.tools, marksToggle(bench, memo));
  comparePair(context, matOn1, (pane) => {
    showMarks(
      [pane],
      marks.map((/** @type {any} */ mark, /** @type {number} */ index) => ({
        ...mark,
        picture: undefined, // it is in the list below
        places: [place(second[index], pane)],
      })),
    );
  });
}

/**
 * Say that nothing of the reference is in the shot: there was nothing to compare.
 * @param {import("../bench.js").Bench} bench
 */
export function showNoMatch(bench) {
  replace(bench.readout, readout(t("verdict-NG"), t("not-the-same"), [], "bad"));
}

/**
 * Return the differences of a reply as they are judged.
 * @param {any} result
 * @returns {import("../verdict.js").Weighed[]}
 */
export function weighed({ diffOnImage1 }) {
  return diffOnImage1.map((/** @type {any} */ { boundingBox, area_percent, strength }) => ({
    box: boundingBox,
    area_percent,
    strength,
  }));
}

/**
 * @param {any} entry
 * @param {import("../stage.js").Pane} pane
 */
function place(entry, pane) {
  const outline = outlineOf(entry, pane.width, pane.height);
  if (!outline) return null;
  const { x, y, width, height } = entry.boundingBox;
  return {
    outline,
    box: boxAround([
      { x, y },
      { x: x + width, y: y + height },
    ]),
  };
}

/**
 * Place the picture of a difference where it belongs.
 * @param {any} entry
 * @param {import("../stage.js").Pane} pane
 */
function layMask(entry, pane) {
  const { x, y, width, height } = entry.boundingBox;
  const picture = h("img", { src: dataUrl(entry.mask), alt: "", class: "spot" });
  const box = { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` };
  for (const [name, value] of Object.entries(box)) picture.style.setProperty(name, value);
  pane.lay(picture);
}
