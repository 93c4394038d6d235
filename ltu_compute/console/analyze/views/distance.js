/**
 * distance: the decision, its place on the scale, and the matching boxes joined across the pair.
 * @module
 */
import { folded, readout, table } from "../controls.js";
import { h, replace, svg } from "../dom.js";
import { boxAround } from "../geometry.js";
import { number, percent, t } from "../i18n.js";
import { outlineOf } from "../reply.js";

// The vendor's: below 1 a match, to 1.8 similar.
const MATCH = 1;
const SIMILAR = 1.8;
const END = 2.5; // of the scale drawn

/** @type {Record<string, string>} */
const MOODS = { Match: "good", Similar: "fair", "No match": "bad" };

/** @param {import("./index.js").Context} context */
export function show({ result, info, panes, bench, details }) {
  const { distance, scores, reference, query } = result;
  replace(
    bench.readout,
    readout(
      t(info.decision),
      t("decision"),
      [[t("distance"), number(distance, 3)]],
      MOODS[info.decision],
    ),
    scale(distance),
  );
  const outlines = [reference, query].map((matched, at) => {
    const pane = panes[at];
    const outline = matched.area > 0 ? (outlineOf(matched, pane.width, pane.height) ?? []) : [];
    if (outline.length) {
      const points = outline.map(({ x, y }) => `${x},${y}`).join(" ");
      const drawing = pane.draw();
      drawing.classList.add("marks");
      drawing.append(
        svg(
          "g",
          { class: "mark" },
          svg("polygon", { points, class: "halo" }),
          svg("polygon", { points, class: "line" }),
        ),
      );
    }
    return outline;
  });
  if (outlines.every((outline) => outline.length)) {
    bench.join([[outlines[0], outlines[1]]]);
    const boxes = outlines.map((outline) => boxAround(outline));
    bench.link((point, from) => {
      const [here, there] = from === panes[0] ? boxes : [boxes[1], boxes[0]];
      return {
        x: there.x + ((point.x - here.x) / here.width) * there.width,
        y: there.y + ((point.y - here.y) / here.height) * there.height,
      };
    });
  }
  replace(
    details,
    table(
      ["", "refImage", "queryImage"],
      [[t("box-area"), percent(reference.area), percent(query.area)]],
      t("box-area"),
    ),
    folded(Object.entries(scores).map(([name, value]) => [name, number(value, 3)])),
  );
}

/** @param {number} distance */
function scale(distance) {
  const at = (/** @type {number} */ value) => `${(100 * Math.min(value, END)) / END}%`;
  const zone = (
    /** @type {string} */ mood,
    /** @type {number} */ from,
    /** @type {number} */ to,
    /** @type {string} */ key,
  ) => h("i", { class: `zone ${mood}`, style: { left: at(from), width: at(to - from) } }, t(key));
  return h(
    "div",
    { class: "scale", role: "img", "aria-label": `${t("distance")}: ${number(distance, 3)}` },
    zone("good", 0, MATCH, "scale-match"),
    zone("fair", MATCH, SIMILAR, "scale-similar"),
    zone("bad", SIMILAR, END, "scale-no"),
    h("b", { class: "needle", style: { left: at(distance) } }),
    [0, MATCH, SIMILAR].map((value) => h("span", { style: { left: at(value) } }, number(value))),
  );
}
