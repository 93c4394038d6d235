/**
 * contours: outlines and boxes on the picture.
 * @module
 */
import { readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { areaOf, boxAround } from "../geometry.js";
import { number, percent, t } from "../i18n.js";
import { outlineOf } from "../reply.js";
import { marksToggle, showMarks } from "./marks.js";

/** @param {import("./index.js").Context} context */
export function show({ result, panes, bench, details, memo }) {
  const [pane] = panes;
  const total = pane.width * pane.height;
  const marks = result.contours.map((/** @type {any} */ entry, /** @type {number} */ index) => {
    const outline = outlineOf(entry, pane.width, pane.height) ?? [];
    const { width, height } = entry.boundingBox;
    const count = entry.relativeVertices.length;
    return {
      places: [{ outline, box: boxAround(outline) }],
      tag: String(index + 1),
      title: `${number(width)} × ${number(height)} px`,
      detail: `${percent(areaOf(outline) / total, 2)} · ${t("vertices", { n: count })}`,
    };
  });
  replace(bench.readout, readout(marks.length, t("contours", { n: marks.length })));
  if (marks.length) replace(bench.tools, marksToggle(bench, memo));
  replace(
    details,
    marks.length
      ? showMarks(panes, marks, {
          boxes: true,
          selected: memo.selected ?? -1,
          onselect: (index) => (memo.selected = index),
        })
      : h("p", { class: "muted" }, t("none-found")),
  );
}
