/**
 * Two pictures of the same thing, one laid over the other: swiped or blinked.
 * @module
 */
import { segments } from "../controls.js";
import { h, replace } from "../dom.js";
import { cssMatrix } from "../geometry.js";
import { t } from "../i18n.js";

/** @typedef {import("./index.js").Context} Context */
/** @typedef {"beside" | "swipe" | "blink"} Mode */

const BLINK_MS = 600; // well below the three flashes a second that WCAG 2.3.1 allows

/** @type {ReturnType<typeof setInterval> | undefined} */
let blinking;

/**
 * Offer the ways to look at a pair.
 * @param {Context} context
 * @param {number[] | undefined} matrix homography from the first picture to the second
 * @param {(pane: import("../stage.js").Pane) => void} [mark] draws on the second picture
 */
export function comparePair(context, matrix, mark) {
  const { bench, memo } = context;
  /** @type {Mode} */
  const mode = (memo.mode ??= "beside");
  const place = h("div", { class: "tools" });
  const show = (/** @type {Mode} */ wanted) => {
    memo.mode = wanted;
    clearInterval(blinking);
    bench.over.clear();
    replace(place);
    if (wanted === "beside" || !matrix) {
      bench.beside();
      if (wanted !== "beside") replace(place, h("p", { class: "muted" }, t("needs-transform")));
      return;
    }
    const upper = layOver(context, matrix, t(wanted));
    mark?.(bench.over);
    replace(place, wanted === "swipe" ? swipe(context, upper) : blink(context, upper));
  };
  bench.tools.prepend(
    segments(
      t("view-mode"),
      [
        ["beside", t("side-by-side")],
        ["swipe", t("swipe")],
        ["blink", t("blink")],
      ],
      mode,
      (value) => show(/** @type {Mode} */ (value)),
    ),
    place,
  );
  show(mode);
}

/** Stop what moves by itself. */
export function hold() {
  clearInterval(blinking);
}

/**
 * @param {Context} context
 * @param {number[]} matrix
 * @param {string} label
 */
function layOver({ bench, pictures }, matrix, label) {
  const [first, second] = pictures;
  const { over } = bench;
  const shown = over.canvas.querySelector("img")?.getAttribute("src");
  bench.overlaid(label);
  if (shown !== second.url) over.show(second);
  const image = h("img", { src: first.url, alt: first.name, draggable: "false", class: "warped" });
  image.style.setProperty("transform", cssMatrix(matrix));
  image.style.setProperty("width", `${first.width}px`);
  image.style.setProperty("height", `${first.height}px`);
  const upper = h("div", { class: "sheet" }, image);
  return over.lay(upper);
}

/**
 * @param {Context} context
 * @param {HTMLElement} upper
 */
function swipe({ bench, memo, pictures }, upper) {
  const { over } = bench;
  const line = over.lay(h("div", { class: "boundary" }));
  const input = h("input", { type: "range", min: 0, max: 1000, value: String(memo.swipe ?? 500) });
  const apply = () => {
    memo.swipe = Number(input.value);
    const share = memo.swipe / 10;
    upper.style.setProperty("clip-path", `inset(0 ${100 - share}% 0 0)`);
    line.style.setProperty("left", `${share}%`);
  };
  line.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    line.setPointerCapture(event.pointerId);
  });
  line.addEventListener("pointermove", (event) => {
    if (!line.hasPointerCapture(event.pointerId)) return;
    input.value = String((1000 * over.under(event).x) / over.width);
    apply();
  });
  input.addEventListener("input", apply);
  apply();
  const [first, second] = pictures;
  return h(
    "label",
    { class: "inline-slider wide" },
    h("span", { class: "quietly" }, t("swipe-at")),
    h("span", { class: "muted", "aria-hidden": true }, first.name),
    input,
    h("span", { class: "muted", "aria-hidden": true }, second.name),
  );
}

/**
 * @param {Context} context
 * @param {HTMLElement} upper
 */
function blink({ pictures, memo }, upper) {
  const shown = h("output", { class: "muted" });
  const turn = () => {
    upper.hidden = !upper.hidden;
    shown.textContent = t("blink-shows", { name: pictures[upper.hidden ? 1 : 0].name });
  };
  const start = () => {
    blinking = setInterval(() => (upper.isConnected ? turn() : clearInterval(blinking)), BLINK_MS);
    pause.textContent = t("blink-stop");
  };
  const pause = h("button", { type: "button" });
  let moving = memo.blinking ?? !matchMedia("(prefers-reduced-motion: reduce)").matches;
  pause.addEventListener("click", () => {
    memo.blinking = moving = !moving;
    if (moving) return start();
    clearInterval(blinking);
    pause.textContent = t("blink-go");
  });
  pause.textContent = t("blink-go");
  if (moving) start();
  const other = h("button", { type: "button", onclick: turn }, t("blink-other"));
  upper.hidden = true;
  turn();
  return h("div", { class: "row" }, pause, other, shown);
}
