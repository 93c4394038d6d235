/**
 * differences: their number, boxes on both pictures, swipe and blink, and a list that zooms.
 * @module
 */
import { readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { boxAround, project } from "../geometry.js";
import { areaWords, number, percent, t } from "../i18n.js";
import { messageOf, outlineOf, dataUrl } from "../reply.js";
import { showMarks } from "./marks.js";
import { comparePair } from "./over.js";

/** First values of the form: the matrices overlay the pictures. */
export const start = { transform: true };

/** @param {import("./index.js").Context} context */
export function show(context) {
  const { reply, result, info, panes, bench, details, memo } = context;
  const { diffOnImage1: first, diffOnImage2: second, matOn1, matOn2 } = result;
  const { count, compared, alignment } = info;
  const px = (/** @type {number | null} */ value) =>
    value === null ? "–" : `${number(value, 2)} px`;
  replace(
    bench.readout,
    readout(
      count,
      t("differences", { n: count }),
      [
        [t("score"), number(reply.details.score, 2)],
        [t("compared"), percent(compared)],
        [t("alignment"), `${alignment.method} · ${px(alignment.residual_px)}`],
      ],
      count ? "bad" : "good",
    ),
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
    detail: `${t("strength")} ${number(entry.strength, 1)} · x ${entry.boundingBox.x}, y ${entry.boundingBox.y}`,
    zoomLabel: t("zoom-to", { n: index + 1 }),
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
  );
  [first, second].forEach((entries, at) => {
    for (const entry of entries) if (entry.mask) layMask(entry, panes[at]);
  });
  comparePair(context, matOn1, (pane) => {
    showMarks(
      [pane],
      marks.map((/** @type {any} */ mark, /** @type {number} */ index) => ({
        ...mark,
        places: [place(second[index], pane)],
      })),
    );
  });
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
