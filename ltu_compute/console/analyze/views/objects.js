/**
 * objectDetection: boxes with their names.
 * @module
 */
import { readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { boxAround } from "../geometry.js";
import { percent, t, thing } from "../i18n.js";
import { outlineOf } from "../reply.js";
import { marksToggle, showMarks } from "./marks.js";

import { aboutScores, answeredBy } from "./recognised.js";

/** @param {import("./index.js").Context} context */
export function show({ result, info, panes, bench, details, memo }) {
  const [pane] = panes;
  const marks = result.localizedObjectAnnotations.map((/** @type {any} */ entry) => {
    const outline = outlineOf(entry, pane.width, pane.height) ?? [];
    const said = [percent(entry.score, 0), entry.text].filter(Boolean).join(" · ");
    return {
      places: [{ outline, box: boxAround(outline) }],
      tag: thing(entry.name),
      title: "",
      detail: said,
      zoomLabel: t("named", { name: thing(entry.name), value: said }),
    };
  });
  replace(
    bench.readout,
    readout(marks.length, t("objects", { n: marks.length }), answeredBy(info)),
  );
  if (marks.length) replace(bench.tools, marksToggle(bench, memo));
  replace(
    details,
    marks.length
      ? showMarks(panes, marks, {
          selected: memo.selected ?? -1,
          onselect: (index) => (memo.selected = index),
        })
      : h("p", { class: "muted" }, t("none-found")),
    aboutScores(info, "objectDetection"),
  );
}
