/**
 * alignmentMatrix: the warped pair, to be swiped or blinked, and the numbers.
 * @module
 */
import { copyButton, folded, readout, table } from "../controls.js";
import { h, replace } from "../dom.js";
import { project } from "../geometry.js";
import { number, t } from "../i18n.js";
import { numbersOf } from "../reply.js";
import { comparePair } from "./over.js";

/** @param {import("./index.js").Context} context */
export function show(context) {
  const { result, info, panes, bench, details, memo } = context;
  const { matrix1, matrix2 } = result;
  const px = (/** @type {number | null | undefined} */ value) =>
    typeof value === "number" ? `${number(value, 3)} px` : "–";
  replace(
    bench.readout,
    readout(px(info.residual_px), t("residual"), [
      [t("expected-error"), px(info.expected_error_px)],
    ]),
  );
  bench.link((point, from) => project(from === panes[0] ? matrix1 : matrix2, point));
  memo.mode ??= "swipe";
  comparePair(context, matrix1);
  replace(
    details,
    matrix(t("matrix-1"), matrix1),
    matrix(t("matrix-2"), matrix2),
    folded(numbersOf(info)),
  );
}

/**
 * @param {string} caption
 * @param {number[]} values row after row
 */
function matrix(caption, values) {
  const rows = [0, 3, 6].map((at) => values.slice(at, at + 3));
  return h(
    "div",
    { class: "matrix" },
    h(
      "div",
      { class: "row spread" },
      h("h3", {}, caption),
      copyButton(t("copy"), () => JSON.stringify(values)),
    ),
    table(
      [],
      rows.map((row) => row.map(shown)),
      caption,
    ),
  );
}

/** @param {number} value */
function shown(value) {
  const small = value !== 0 && Math.abs(value) < 1e-3;
  return small ? value.toExponential(4) : value.toPrecision(6);
}
