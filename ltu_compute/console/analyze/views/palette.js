/**
 * colorPalette: the colours as patches; a click copies one.
 * @module
 */
import { copyButton, readout } from "../controls.js";
import { h, replace } from "../dom.js";
import { percent, t } from "../i18n.js";

const BRIGHT = 0.179; // relative luminance where black and white contrast alike (WCAG 2)

/** @param {import("./index.js").Context} context */
export function show({ result, bench, details }) {
  /** @type {[number, number, number, number][]} */
  const colors = result.colors;
  replace(bench.readout, readout(colors.length, t("colors", { n: colors.length })));
  const bar = colors.map(([red, green, blue, share]) =>
    h("i", {
      style: { background: hex(red, green, blue), "flex-grow": share },
      title: hex(red, green, blue),
    }),
  );
  const patches = colors.map(([red, green, blue, share]) => {
    const name = hex(red, green, blue);
    const light = luminance(red, green, blue) > BRIGHT;
    return h(
      "li",
      {},
      copyButton(name, () => name, {
        class: `swatch ${light ? "light" : "dark"}`,
        "aria-label": `${t("copy-color", { name })}`,
        style: { background: name },
      }),
      h("span", {}, percent(share / 100, 0)),
      h("small", {}, `rgb ${red}, ${green}, ${blue}`),
    );
  });
  replace(
    details,
    h("div", { class: "bar", "aria-hidden": true }, bar),
    h("ul", { class: "swatches" }, patches),
  );
}

/** @param {...number} channels */
function hex(...channels) {
  return `#${channels.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * Return the relative luminance of a colour as WCAG 2 defines it, 0 to 1.
 * @param {...number} channels red, green, blue
 */
function luminance(...channels) {
  const [red, green, blue] = channels.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
