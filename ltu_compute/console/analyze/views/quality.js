/**
 * imageQuality: gauges, the histogram, and where the exposure is out of range.
 * @module
 */
import { check, folded, meter, readout } from "../controls.js";
import { h, replace, svg } from "../dom.js";
import { number, percent, t } from "../i18n.js";
import { bytesOf } from "../files.js";
import { tinted } from "../pictures.js";
import { dataUrl, resultOf } from "../reply.js";

/** @type {[number, number, number]} */
const UNDER = [40, 110, 255];
/** @type {[number, number, number]} */
const OVER = [255, 60, 20];
// Where gauges end that values may go beyond.
const NOISY = 20;
const SPREAD = 128; // the most that levels from 0 to 255 can deviate

/** @type {Record<string, string>} */
const MOODS = { sharp: "good", soft: "fair", unsharp: "bad", flat: "" };

/** @param {any} reply */
export async function prepare(reply) {
  const { brightness } = resultOf(reply);
  return {
    under: await tinted(dataUrl(brightness.under_mask), UNDER),
    over: await tinted(dataUrl(brightness.over_mask), OVER),
  };
}

/** @param {import("./index.js").Context} context */
export function show({ result, panes, bench, details, memo, prepared: sheets }) {
  const { brightness, sharpness } = result;
  const { val, sml } = sharpness;
  const words = {
    blur: sharpness.blur === null ? "–" : number(sharpness.blur),
    under: percent(brightness.under_per / 100),
    over: percent(brightness.over_per / 100),
    noise: number(result.noise_sigma),
  };
  replace(
    bench.readout,
    readout(t(`verdict-${sharpness.verdict}`), "", [
      [t("blur"), words.blur],
      [t("under"), words.under],
      [t("over"), words.over],
      [t("noise"), words.noise],
    ], MOODS[sharpness.verdict]),
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
      gauge(t("blur"), words.blur, sharpness.blur ?? 0, t("sharp"), t("unsharp")),
      gauge(t("noise"), words.noise, result.noise_sigma / NOISY, number(0), `≥ ${number(NOISY)}`),
      gauge(t("under"), words.under, brightness.under_per / 100, percent(0), percent(1)),
      gauge(t("over"), words.over, brightness.over_per / 100, percent(0), percent(1)),
      gauge(t("mean"), number(brightness.l_mean), brightness.l_mean / 255, number(0), number(255)),
      gauge(
        t("deviation"),
        number(brightness.l_std),
        brightness.l_std / SPREAD,
        number(0),
        number(SPREAD),
      ),
    ),
    h("h3", {}, t("histogram")),
    histogram(bytesOf(brightness.l_hist)),
    folded([
      [t("sharpness"), number(val)],
      [t("sharpness-sml"), number(sml)],
    ]),
  );
}

/**
 * @param {string} label
 * @param {string} words the value
 * @param {number} share of the gauge
 * @param {string} low words at its ends
 * @param {string} high
 */
function gauge(label, words, share, low, high) {
  return h(
    "div",
    { class: "gauge" },
    h("span", {}, label),
    h("b", {}, words),
    meter(share),
    h("small", {}, low),
    h("small", {}, high),
  );
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
