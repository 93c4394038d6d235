/**
 * classification: labels as bars.
 * @module
 */
import { meter, readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { percent, t, thing } from "../i18n.js";

import { aboutScores, answeredBy } from "./recognised.js";

/** @param {import("./index.js").Context} context */
export function show({ result, info, bench, details }) {
  /** @type {any[]} */
  const labels = result.labelAnnotations;
  const [best] = labels;
  replace(
    bench.readout,
    best
      ? readout(thing(best.description), percent(best.score, 0), answeredBy(info))
      : readout(0, t("labels", { n: 0 }), answeredBy(info)),
  );
  replace(
    details,
    labels.length
      ? h(
          "ul",
          { class: "bars" },
          labels.map((label) => bar(label)),
        )
      : h("p", { class: "muted" }, t("none-found")),
    aboutScores(info, "classification"),
  );
}

/** @param {{description: string, score: number, mid: string}} label */
function bar({ description, score, mid }) {
  const words = percent(score, 0);
  return h(
    "li",
    { title: mid || null },
    h("span", {}, thing(description)),
    h("b", {}, words),
    meter(score),
  );
}
