/**
 * A pane: one picture that can be zoomed and moved, and what is drawn over it.
 * @module
 */
import { h, replace, svg } from "./dom.js";
import { cssMatrix } from "./geometry.js";
import { t } from "./i18n.js";

/** @typedef {import("./geometry.js").Box} Box */
/** @typedef {import("./geometry.js").Point} Point */

const STEP = 1.25; // of one press of a key or turn of the wheel
const MOST = 32; // screen px a picture's px
const SHARP = 3; // from which on pixels are drawn as squares
const ARROW_PX = 48;

export class Pane extends EventTarget {
  /** @param {string} label what the picture is, for those who do not see it */
  constructor(label) {
    super();
    this.canvas = h("div", { class: "canvas" });
    this.viewport = h(
      "div",
      { class: "viewport", tabindex: 0, role: "group", "aria-label": label },
      this.canvas,
    );
    this.tools = h("div", { class: "zoom" });
    this.element = h("div", { class: "pane" }, this.viewport, this.tools);
    this.width = this.height = 1;
    this.scale = 1;
    this.x = this.y = 0;
    this.fitted = true;
    this.shown = false; // whether there is a picture
    this.frozen = false; // while something is drawn, moving is off
    /** @type {Map<number, PointerEvent>} */
    this.pointers = new Map();
    this.translate();
    this.#listen();
    new ResizeObserver(() => this.#resized()).observe(this.viewport);
  }

  /**
   * Show a picture; what was drawn over another one goes. Where a part of another one was looked
   * at, the same part of this one is shown.
   * @param {{url: string, width: number, height: number, name: string}} picture
   */
  show(picture) {
    const before = this.shown && this.viewport.clientWidth > 0 ? this.view : null;
    const [width, height] = [this.width, this.height];
    const base = h("img", {
      src: picture.url,
      alt: picture.name,
      draggable: "false",
      class: "base",
    });
    this.size(picture.width || 640, picture.height || 480);
    this.canvas.replaceChildren(base);
    this.shown = true;
    if (!before || before.fitted) this.fit();
    else {
      const at = { x: (before.x / width) * this.width, y: (before.y / height) * this.height };
      this.look(at.x, at.y, before.zoom * this.#fitting(), false);
    }
  }

  /** Take the picture away: the next one is shown whole. */
  empty() {
    this.canvas.replaceChildren();
    this.shown = false;
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  size(width, height) {
    this.width = width;
    this.height = height;
    this.canvas.style.setProperty("width", `${width}px`);
    this.canvas.style.setProperty("height", `${height}px`);
  }

  /** Take away what is drawn over the picture, but not what the user draws. */
  clear() {
    for (const layer of this.canvas.querySelectorAll(".layer")) layer.remove();
  }

  /**
   * Place an element over the whole picture.
   * @template {HTMLElement | SVGElement} E
   * @param {E} element
   * @param {number[] | null} [matrix] homography from its px to those of the picture
   * @returns {E}
   */
  lay(element, matrix = null) {
    element.classList.add("layer");
    if (matrix) element.style.setProperty("transform", cssMatrix(matrix));
    this.canvas.append(element);
    return element;
  }

  /** Place a drawing, in px of the picture, over it. */
  draw() {
    const drawing = svg("svg", {
      viewBox: `0 0 ${this.width} ${this.height}`,
      width: this.width,
      height: this.height,
    });
    return this.lay(drawing);
  }

  /**
   * See all of the picture.
   * @param {boolean} [tell] whether linked panes move along
   */
  fit(tell = true) {
    const { clientWidth, clientHeight } = this.viewport;
    this.fitted = true; // once it is on the page
    if (!clientWidth || !clientHeight) return;
    this.scale = this.#fitting();
    this.x = (clientWidth - this.width * this.scale) / 2;
    this.y = (clientHeight - this.height * this.scale) / 2;
    this.#apply(tell);
  }

  /**
   * See a part of the picture, with what is around it.
   * @param {Box} box
   */
  zoomTo(box) {
    const { clientWidth, clientHeight } = this.viewport;
    if (!clientWidth) return; // not on the page
    const margin = 2.5;
    const side = Math.min(
      clientWidth / Math.max(box.width * margin, 24),
      clientHeight / Math.max(box.height * margin, 24),
    );
    this.look(box.x + box.width / 2, box.y + box.height / 2, side);
  }

  /**
   * Bring a point of the picture to the centre.
   * @param {number} x
   * @param {number} y
   * @param {number} scale screen px a px
   * @param {boolean} [tell] whether linked panes move along
   */
  look(x, y, scale, tell = true) {
    this.fitted = false;
    this.scale = Math.min(Math.max(scale, this.#fitting() / 2), MOST);
    this.x = this.viewport.clientWidth / 2 - x * this.scale;
    this.y = this.viewport.clientHeight / 2 - y * this.scale;
    this.#apply(tell);
  }

  /** Return what is in the centre, in px of the picture, and how far this is from the fitted view. */
  get view() {
    return {
      x: (this.viewport.clientWidth / 2 - this.x) / this.scale,
      y: (this.viewport.clientHeight / 2 - this.y) / this.scale,
      zoom: this.scale / this.#fitting(),
      fitted: this.fitted,
    };
  }

  /**
   * Look where another pane looks.
   * @param {{x: number, y: number, zoom: number, fitted: boolean}} view
   */
  follow(view) {
    if (view.fitted) this.fit(false);
    else this.look(view.x, view.y, view.zoom * this.#fitting(), false);
  }

  /**
   * Return where a point of the picture is within the viewport.
   * @param {Point} point
   * @returns {Point}
   */
  onScreen({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  /**
   * Return the point of the picture that a pointer is on.
   * @param {MouseEvent} event
   * @returns {Point}
   */
  under(event) {
    const frame = this.viewport.getBoundingClientRect();
    return {
      x: (event.clientX - frame.left - this.x) / this.scale,
      y: (event.clientY - frame.top - this.y) / this.scale,
    };
  }

  #fitting() {
    const { clientWidth, clientHeight } = this.viewport;
    return Math.min(clientWidth / this.width, clientHeight / this.height) || 1;
  }

  #resized() {
    if (this.fitted) this.fit();
    else this.#apply();
  }

  #apply(tell = true) {
    this.canvas.style.setProperty(
      "transform",
      `translate(${this.x}px, ${this.y}px) scale(${this.scale})`,
    );
    this.canvas.style.setProperty("--px", String(1 / this.scale));
    this.canvas.classList.toggle("sharp", this.scale >= SHARP);
    this.viewport.classList.toggle("fitted", this.fitted);
    this.dispatchEvent(new CustomEvent("move", { detail: tell }));
  }

  /**
   * @param {number} factor
   * @param {Point} [at] within the viewport; the centre if not given
   */
  zoom(factor, at) {
    const centre = { x: this.viewport.clientWidth / 2, y: this.viewport.clientHeight / 2 };
    const { x, y } = at ?? centre;
    const scale = Math.min(Math.max(this.scale * factor, this.#fitting() / 2), MOST);
    const ratio = scale / this.scale;
    this.fitted = false;
    this.x = x - (x - this.x) * ratio;
    this.y = y - (y - this.y) * ratio;
    this.scale = scale;
    this.#apply();
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  move(x, y) {
    this.fitted = false;
    this.x += x;
    this.y += y;
    this.#apply();
  }

  /** Name the buttons, in the language that counts now. */
  translate() {
    const tool = (
      /** @type {string} */ key,
      /** @type {string} */ sign,
      /** @type {() => void} */ act,
    ) => h("button", { type: "button", title: t(key), "aria-label": t(key), onclick: act }, sign);
    replace(
      this.tools,
      tool("zoom-in", "+", () => this.zoom(STEP)),
      tool("zoom-out", "−", () => this.zoom(1 / STEP)),
      tool("zoom-fit", "⤢", () => this.fit()),
      tool("zoom-one", "1:1", () => this.zoom(1 / this.scale)),
    );
  }

  #listen() {
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ act) =>
      this.viewport.addEventListener(name, act, { passive: false });
    on("wheel", (event) => {
      event.preventDefault();
      const frame = this.viewport.getBoundingClientRect();
      const at = { x: event.clientX - frame.left, y: event.clientY - frame.top };
      this.zoom(Math.exp(-event.deltaY / 400), at);
    });
    on("pointerdown", (event) => {
      if (this.frozen || event.target.closest("button, .word, .handle")) return;
      this.viewport.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    on("pointermove", (event) => this.#drag(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      on(name, (event) => this.pointers.delete(event.pointerId));
    }
    on("dblclick", () => !this.frozen && this.fit());
    on("keydown", (event) => this.#key(event));
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.pointers.values()].filter((p) => p.pointerId !== event.pointerId);
    if (others.length) {
      const [other] = others;
      const frame = this.viewport.getBoundingClientRect();
      const apart = (/** @type {PointerEvent} */ p) =>
        Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
      this.zoom(apart(event) / (apart(before) || 1), {
        x: (event.clientX + other.clientX) / 2 - frame.left,
        y: (event.clientY + other.clientY) / 2 - frame.top,
      });
    } else {
      this.move(event.clientX - before.clientX, event.clientY - before.clientY);
    }
    this.pointers.set(event.pointerId, event);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target !== this.viewport || event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, () => void>} */
    const acts = {
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      0: () => this.fit(),
      1: () => this.zoom(1 / this.scale),
      ArrowLeft: () => this.move(ARROW_PX, 0),
      ArrowRight: () => this.move(-ARROW_PX, 0),
      ArrowUp: () => this.move(0, ARROW_PX),
      ArrowDown: () => this.move(0, -ARROW_PX),
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

/**
 * Let two panes look at the same place.
 * @param {Pane} first
 * @param {Pane} second
 * @param {(point: Point, from: Pane) => Point} across where a point of one is on the other
 */
export function link(first, second, across) {
  const stop = new AbortController();
  const follow = (/** @type {Pane} */ pane, /** @type {Pane} */ other) => {
    const { view } = pane;
    other.follow({ ...view, ...across(view, pane) });
  };
  for (const [pane, other] of [
    [first, second],
    [second, first],
  ]) {
    pane.addEventListener(
      "move",
      (event) => {
        if (/** @type {CustomEvent} */ (event).detail) follow(pane, other);
      },
      { signal: stop.signal },
    );
  }
  if (first.viewport.clientWidth && !first.view.fitted) follow(first, second);
  return stop;
}
