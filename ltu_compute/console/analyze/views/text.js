/**
 * textDetection: the words at their places, to be selected over the picture.
 * @module
 */
import { REMOTE } from "../abilities.js";
import { copyButton, readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { languageName, number, percent, t } from "../i18n.js";
import { canvasOf } from "../pictures.js";
import { boxAround } from "../geometry.js";
import { marksToggle, showMarks } from "./marks.js";

import { answeredBy } from "./recognised.js";

const FONT_PX = 100; // at which widths are measured

/** @param {import("./index.js").Context} context */
export function show({ result, info, panes, bench, details, memo }) {
  /** @type {any[]} */
  const areas = Object.values(result.image.areas);
  const summary = areas.find((area) => area.type === "input")?.resultInfo.textDetection;
  const words = areas.filter((area) => area.type === "output");
  const sure = words.map((area) => area.resultInfo.textDetection.confidence ?? 0);
  replace(
    bench.readout,
    readout(words.length, t("words", { n: words.length }), [
      [t("text-language"), summary.language ? languageName(summary.language) : "–"],
      [t("rotation"), `${number(info.rotation ?? 0, 1)}°`],
      [t("confidence"), sure.length ? percent(sure.reduce((a, b) => a + b) / sure.length, 0) : "–"],
      ...(info.provider === REMOTE ? answeredBy(info) : []),
    ]),
  );
  if (!words.length) {
    replace(details, h("p", { class: "muted" }, t("none-found")));
    return;
  }
  const marks = words.map((area) => {
    const { text, confidence, vertices } = area.resultInfo.textDetection;
    const { x, y, width, height } = area.boundingBox;
    const outline = vertices ?? [
      { x, y },
      { x: x + width, y },
      { x: x + width, y: y + height },
      { x, y: y + height },
    ];
    return {
      places: [{ outline, box: boxAround(outline) }],
      tag: "",
      title: text,
      detail: percent(confidence ?? 0, 0),
    };
  });
  replace(bench.tools, marksToggle(bench, memo));
  const list = showMarks(panes, marks, {
    fine: true,
    selected: memo.selected ?? -1,
    onselect: (index) => (memo.selected = index),
  });
  const sheet = panes[0].lay(h("div", { class: "sheet text" }));
  const { context } = canvasOf(1, 1);
  context.font = `${FONT_PX}px sans-serif`;
  for (const { places, title } of marks) {
    sheet.append(word(places[0].outline, title, context.measureText(title).width / FONT_PX), " ");
  }
  const whole = h("textarea", {
    readonly: true,
    rows: 5,
    "aria-label": t("whole-text"),
    value: summary.text,
  });
  replace(
    details,
    h(
      "div",
      { class: "row spread" },
      h("h3", {}, t("whole-text")),
      copyButton(t("copy"), () => summary.text),
    ),
    whole,
    list,
  );
}

/**
 * Return a word that can be selected at its place.
 * @param {{x: number, y: number}[]} outline from the word's own top left, clockwise
 * @param {string} text
 * @param {number} ems its width, in heights of the letters
 */
function word([topLeft, topRight, , bottomLeft], text, ems) {
  const width = Math.hypot(topRight.x - topLeft.x, topRight.y - topLeft.y);
  const height = Math.hypot(bottomLeft.x - topLeft.x, bottomLeft.y - topLeft.y) || 1;
  const angle = Math.atan2(topRight.y - topLeft.y, topRight.x - topLeft.x);
  const stretch = width / (ems * height || 1);
  const place = `translate(${topLeft.x}px, ${topLeft.y}px) rotate(${angle}rad) scaleX(${stretch})`;
  return h(
    "span",
    { class: "word", style: { "font-size": `${height}px`, transform: place } },
    text,
  );
}
