/**
 * classification: labels as bars.
 * @module
 */
import { meter, readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { percent, t } from "../i18n.js";

/** @param {import("./index.js").Context} context */
export function show({ result, info, bench, details }) {
  /** @type {any[]} */
  const labels = result.labelAnnotations;
  const [best] = labels;
  replace(
    bench.readout,
    readout(best?.description ?? "0", best ? percent(best.score, 0) : t("labels", { n: 0 }), [
      [t("provider"), info.provider],
      ...(info.model ? [/** @type {[string, string]} */ ([t("model"), info.model])] : []),
    ]),
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
    info.scores && h("p", { class: "help" }, `${t("scores")}: ${info.scores}`),
    info.note && h("p", { class: "help" }, info.note),
  );
}

/** @param {{description: string, score: number, mid: string}} label */
function bar({ description, score, mid }) {
  const words = percent(score, 0);
  return h(
    "li",
    { title: mid || null },
    h("span", {}, description),
    h("b", {}, words),
    meter(score),
  );
}
