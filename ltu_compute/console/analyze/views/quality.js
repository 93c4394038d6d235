/**
 * imageQuality: gauges, the histogram, and where the exposure is out of range.
 * @module
 */
import { check, meter, readout } from "../controls.js";
import { h, replace, svg } from "../dom.js";
import { number, percent, t } from "../i18n.js";
import { bytesOf } from "../files.js";
import { tinted } from "../pictures.js";
import { dataUrl } from "../reply.js";

/** @type {[number, number, number]} */
const UNDER = [40, 110, 255];
/** @type {[number, number, number]} */
const OVER = [255, 60, 20];

/** @param {import("./index.js").Context} context */
export async function show({ result, panes, bench, details, current, memo }) {
  const { brightness, sharpness } = result;
  const sheets = {
    under: await tinted(dataUrl(brightness.under_mask), UNDER),
    over: await tinted(dataUrl(brightness.over_mask), OVER),
  };
  if (!current()) return;
  replace(
    bench.readout,
    readout(number(sharpness.val_norm, 2), t("sharpness"), [
      [t("under"), percent(brightness.under_per / 100)],
      [t("over"), percent(brightness.over_per / 100)],
      [t("noise"), number(result.noise_sigma, 1)],
    ]),
  );
  const lay = (/** @type {"under" | "over"} */ name) => {
    memo[name] ??= true;
    const sheet = sheets[name];
    sheet.setAttribute("class", "stretched mask");
    sheet.hidden = !memo[name];
    panes[0].lay(sheet);
    return check(t(name), memo[name], (on) => (sheet.hidden = !(memo[name] = on)), name);
  };
  replace(bench.tools, lay("under"), lay("over"));
  replace(
    details,
    h(
      "div",
      { class: "gauges" },
      gauge(t("sharpness"), sharpness.val_norm, 3),
      gauge(t("sharpness-sml"), sharpness.sml_norm, 1),
      gauge(t("noise"), result.noise_sigma, 20),
      gauge(t("under"), brightness.under_per, 100, " %"),
      gauge(t("over"), brightness.over_per, 100, " %"),
      gauge(t("mean"), brightness.l_mean, 255),
      gauge(t("deviation"), brightness.l_std, 128),
    ),
    h("h3", {}, t("histogram")),
    histogram(bytesOf(brightness.l_hist)),
  );
}

/**
 * @param {string} label
 * @param {number} value
 * @param {number} full where the gauge ends
 * @param {string} [unit]
 */
function gauge(label, value, full, unit = "") {
  const words = `${number(value, 2)}${unit}`;
  return h("div", { class: "gauge" }, h("span", {}, label), h("b", {}, words), meter(value / full));
}

/** @param {Uint8Array} bins 0 to 255 each */
function histogram(bins) {
  const bars = [...bins].map((value, index) =>
    svg(
      "rect",
      { x: index, y: 256 - value, width: 1, height: value },
      svg("title", {}, t("histogram-bin", { n: index, value })),
    ),
  );
  return svg(
    "svg",
    {
      class: "histogram",
      viewBox: `0 0 ${bins.length} 256`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": t("histogram"),
    },
    bars,
  );
}
