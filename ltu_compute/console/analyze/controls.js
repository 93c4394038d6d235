/**
 * Small parts that several views are made of.
 * @module
 */
import { h } from "./dom.js";
import { number, read, t, written } from "./i18n.js";

/** @typedef {import("./dom.js").Child} Child */

const STEP = 0.1; // of an arrow key, in a field for numbers that need not be whole
const DIGITS = 12; // of such a step's result: without what binary fractions add

let ids = 0;

/** @param {string} stem */
export function newId(stem) {
  ids += 1;
  return `${stem}-${ids}`;
}

/**
 * One of a few, side by side.
 * @param {string} label
 * @param {[string, string][]} options value and words
 * @param {string} chosen
 * @param {(value: string) => void} onchange
 */
export function segments(label, options, chosen, onchange) {
  const name = newId("segments");
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "quietly" }, label),
    options.map(([value, words]) => {
      const input = h("input", { type: "radio", name, value, checked: value === chosen });
      input.addEventListener("change", () => onchange(value));
      return h("label", {}, input, h("span", {}, words));
    }),
  );
}

/**
 * A labelled slider from 0 to 100.
 * @param {string} label
 * @param {number} value
 * @param {(value: number) => void} oninput
 */
export function percentSlider(label, value, oninput) {
  const input = h("input", { type: "range", min: 0, max: 100, value: String(value) });
  const shown = h("output", {}, `${value} %`);
  input.addEventListener("input", () => {
    shown.textContent = `${input.value} %`;
    oninput(Number(input.value));
  });
  return h("label", { class: "inline-slider" }, h("span", {}, label), input, shown);
}

/** @type {Record<string, number>} steps of a key */
const STEPS = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

/**
 * A field for a number as the language writes it. The browser's own takes the mark of decimals from
 * the browser's language, not from the page's.
 * @param {Record<string, unknown>} props
 * @param {{minimum?: number, maximum?: number, whole?: boolean}} allowed for the arrow keys
 * @param {number | undefined} value
 */
export function numberField(props, { minimum = -Infinity, maximum = Infinity, whole = false }, value) {
  const input = h("input", {
    ...props,
    type: "text",
    inputmode: whole ? "numeric" : "decimal",
    role: "spinbutton",
    "aria-valuemin": Number.isFinite(minimum) ? minimum : null,
    "aria-valuemax": Number.isFinite(maximum) ? maximum : null,
    autocomplete: "off",
    value: value === undefined ? "" : written(value),
  });
  const show = () => {
    const now = read(input.value);
    if (now === undefined || Number.isNaN(now)) input.removeAttribute("aria-valuenow");
    else input.setAttribute("aria-valuenow", String(now));
  };
  input.addEventListener("input", show);
  show();
  input.addEventListener("keydown", (event) => {
    const steps = STEPS[event.key];
    if (!steps || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const now = read(input.value) || 0;
    const next = now + steps * (whole ? 1 : STEP);
    input.value = written(Number(Math.min(maximum, Math.max(minimum, next)).toPrecision(DIGITS)));
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  return input;
}

/**
 * @param {string} label
 * @param {boolean} on
 * @param {(on: boolean) => void} onchange
 * @param {string} [color] class of a patch of colour before the words
 */
export function check(label, on, onchange, color = "") {
  const input = h("input", { type: "checkbox", checked: on });
  input.addEventListener("change", () => onchange(input.checked));
  return h("label", { class: "check" }, input, color && h("i", { class: `patch ${color}` }), label);
}

/**
 * The figure that counts, to be read from afar, and those that go with it.
 * @param {string | number} figure
 * @param {string} words
 * @param {[string, Child][]} [others] words and figure
 * @param {string} [mood] "good", "fair", "bad" or nothing
 */
export function readout(figure, words, others = [], mood = "") {
  return [
    h(
      "p",
      { class: `headline ${mood}` },
      h("b", {}, typeof figure === "number" ? number(figure) : figure),
      " ",
      h("span", {}, words),
    ),
    others.length > 0 && figures(others),
  ];
}

/** @param {[string, Child][]} named words and figure */
export function figures(named) {
  return h(
    "dl",
    { class: "figures" },
    named.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/**
 * A bar that is filled to a share; the number itself is beside it in words.
 * @param {number} share 0 to 1
 */
export function meter(share) {
  const width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return h("i", { class: "meter", "aria-hidden": true }, h("i", { style: { width } }));
}

/**
 * @param {string[]} heads
 * @param {Child[][]} rows
 * @param {string} caption
 */
export function table(heads, rows, caption) {
  return h(
    "table",
    {},
    h("caption", { class: "quietly" }, caption),
    heads.length > 0 &&
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((head) => (head ? h("th", { scope: "col" }, head) : h("td"))),
        ),
      ),
    h(
      "tbody",
      {},
      rows.map(([first, ...rest]) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, first),
          rest.map((cell) => h("td", {}, cell)),
        ),
      ),
    ),
  );
}

/**
 * Numbers behind a result, for developers.
 * @param {[string, Child][]} rows
 */
export function folded(rows) {
  return h(
    "details",
    { class: "more folded" },
    h("summary", {}, t("details")),
    table([], rows, t("details")),
  );
}

/**
 * A part of the panel that opens and closes.
 * @param {string} title
 * @param {boolean} open
 * @param {...import("./dom.js").Children} children
 */
export function section(title, open, ...children) {
  return h("details", { class: "section", open }, h("summary", {}, title), ...children);
}

/**
 * A button that acts when it is pressed twice.
 * @param {string} id
 * @param {string} words
 * @param {() => void} act
 */
export function confirmed(id, words, act) {
  const button = h("button", { type: "button", class: "quiet small", id }, words);
  let sure = false;
  button.addEventListener("click", () => {
    if (sure) return act();
    sure = true;
    button.textContent = t("really");
  });
  button.addEventListener("blur", () => {
    sure = false;
    button.textContent = words;
  });
  return button;
}

/**
 * A button that copies a text and says so.
 * @param {string} words
 * @param {() => string} text
 * @param {Record<string, unknown>} [props]
 */
export function copyButton(words, text, props = {}) {
  const button = h("button", { type: "button", ...props }, words);
  button.addEventListener("click", async () => {
    await copy(text());
    const said = button.textContent;
    button.textContent = t("copied");
    setTimeout(() => (button.textContent = said), 1200);
  });
  return button;
}

/** @param {string} text */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Pages loaded by http from another machine have no clipboard.
  const area = h("textarea", { class: "quietly", value: text, readonly: true });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Return the size of a page's list, and what is said where there is more. */
export const LISTED = 200;

/** @param {number} length */
export function more(length) {
  return length > LISTED && h("p", { class: "muted" }, t("shown-first", { n: LISTED, m: length }));
}
