/**
 * Boxes with classes, drawn on a pane by pointer or by keyboard.
 * @module
 */
import { h, replace, svg } from "./dom.js";
import { boxAround } from "./geometry.js";
import { t } from "./i18n.js";
import { NUDGE_PX } from "./keys.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {{class: string, x1: number, y1: number, x2: number, y2: number}} Box */

const LEAST_PX = 4; // on the screen; a shorter drag is a click
const SHARE = 0.3; // of the picture: the sides of a box made by keyboard
const CORNERS = /** @type {const} */ ([
  ["x1", "y1"],
  ["x2", "y1"],
  ["x2", "y2"],
  ["x1", "y2"],
]);

export class BoxEditor {
  /**
   * @param {import("./stage.js").Pane} pane
   * @param {object} acts
   * @param {() => void} acts.changed
   * @param {() => string} acts.class the class of the next box; empty: there is none yet
   * @param {(name: string) => string} acts.color of a class
   */
  constructor(pane, acts) {
    this.pane = pane;
    this.acts = acts;
    /** @type {Box[]} */
    this.boxes = [];
    this.chosen = -1;
    this.on = false;
    /** @type {{from: Point, act: (to: Point) => void, moved: boolean} | null} */
    this.drag = null;
    this.lines = svg("svg", { class: "region" });
    this.tags = h("div", { class: "box-tags" });
    this.#listen();
  }

  /**
   * Edit the boxes of the picture that the pane shows now.
   * @param {Box[]} boxes changed in place
   */
  attach(boxes) {
    const { width, height } = this.pane;
    this.boxes = boxes;
    this.chosen = -1;
    this.lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.lines.setAttribute("width", String(width));
    this.lines.setAttribute("height", String(height));
    this.pane.canvas.append(this.lines, this.tags);
    this.show();
  }

  detach() {
    this.lines.remove();
    this.tags.remove();
    this.boxes = [];
  }

  /**
   * Say whether a drag draws a box, or moves the picture.
   * @param {boolean} yes
   */
  draw(yes) {
    this.on = yes;
    this.pane.frozen = yes;
    this.pane.viewport.classList.toggle("drawing", yes);
  }

  /** Put a box in the middle of the picture, to be moved by the arrow keys. */
  add() {
    const { width, height } = this.pane;
    const [w, hgt] = [(SHARE * width) / 2, (SHARE * height) / 2];
    this.#insert({
      class: this.acts.class(),
      x1: width / 2 - w,
      y1: height / 2 - hgt,
      x2: width / 2 + w,
      y2: height / 2 + hgt,
    });
    this.#focus();
  }

  /** @param {string} name of the class that the chosen box gets */
  rename(name) {
    if (this.chosen < 0) return;
    this.boxes[this.chosen].class = name;
    this.#changed();
  }

  show() {
    const focused = this.tags.contains(document.activeElement);
    // A corner that is dragged may be on the other side of the box: the sides are sorted at its end.
    const strokes = this.boxes.flatMap((box, index) => {
      const place = boxAround([
        { x: box.x1, y: box.y1 },
        { x: box.x2, y: box.y2 },
      ]);
      const color = { "--mark": this.acts.color(box.class) };
      const shade = index === this.chosen ? "line chosen" : "line";
      return [
        svg("rect", { ...place, class: "halo" }),
        svg("rect", { ...place, class: shade, style: color }),
      ];
    });
    replace(this.lines, strokes);
    replace(
      this.tags,
      this.boxes.map((box, index) => this.#tag(box, index)),
      this.chosen >= 0 && CORNERS.map((names) => this.#corner(names)),
    );
    if (focused) this.#focus();
  }

  /**
   * @param {Box} box
   * @param {number} index
   */
  #tag(box, index) {
    const [x, y, width, height] = [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1].map(Math.round);
    const words = { name: box.class, x, y, width, height };
    return h(
      "button",
      {
        type: "button",
        class: `tag box-tag${index === this.chosen ? " chosen" : ""}`,
        "aria-label": t("train-box", words),
        "aria-pressed": String(index === this.chosen),
        style: { left: `${box.x1}px`, top: `${box.y1}px`, "--mark": this.acts.color(box.class) },
        onclick: () => this.#choose(index),
        onfocus: () => index !== this.chosen && this.#choose(index),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      },
      box.class,
    );
  }

  /** @param {typeof CORNERS[number]} names of the sides that meet there */
  #corner([across, down]) {
    const box = this.boxes[this.chosen];
    const corner = h("span", {
      class: "handle",
      style: { left: `${box[across]}px`, top: `${box[down]}px` },
    });
    corner.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.#begin(event, (to) => {
        box[across] = to.x;
        box[down] = to.y;
      });
    });
    return corner;
  }

  #focus() {
    const tag = this.tags.children[this.chosen];
    if (tag instanceof HTMLElement) tag.focus({ preventScroll: true });
  }

  /** @param {number} index */
  #choose(index) {
    this.chosen = index;
    this.show();
  }

  /** @param {Box} box */
  #insert(box) {
    this.boxes.push(box);
    this.chosen = this.boxes.length - 1;
    this.#changed();
  }

  /** Remove the chosen box. */
  remove() {
    if (this.chosen < 0) return;
    this.boxes.splice(this.chosen, 1);
    this.chosen = -1;
    this.#changed();
    this.pane.viewport.focus({ preventScroll: true });
  }

  #changed() {
    this.show();
    this.acts.changed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const box = this.boxes[this.chosen];
    const step = NUDGE_PX / this.pane.scale;
    /** @type {Record<string, [number, number]>} */
    const ways = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const way = ways[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.remove();
    } else if (way && box) {
      event.preventDefault();
      const { width, height } = this.pane;
      const [x, y] = way;
      if (event.shiftKey) {
        box.x2 = Math.min(Math.max(box.x2 + x, box.x1 + 1), width);
        box.y2 = Math.min(Math.max(box.y2 + y, box.y1 + 1), height);
      } else {
        const right = Math.min(Math.max(x, -box.x1), width - box.x2);
        const down = Math.min(Math.max(y, -box.y1), height - box.y2);
        Object.assign(box, { x1: box.x1 + right, x2: box.x2 + right });
        Object.assign(box, { y1: box.y1 + down, y2: box.y2 + down });
      }
      this.#changed();
    }
  }

  #listen() {
    const { viewport } = this.pane;
    viewport.addEventListener("pointerdown", (event) => this.#press(event));
    viewport.addEventListener("pointermove", (event) => {
      const { drag } = this;
      if (!drag) return;
      const to = this.#within(this.pane.under(event));
      const far = Math.hypot(to.x - drag.from.x, to.y - drag.from.y) * this.pane.scale;
      if (!drag.moved && far < LEAST_PX) return;
      drag.moved = true;
      drag.act(to);
      this.show();
    });
    for (const name of ["pointerup", "pointercancel"]) {
      viewport.addEventListener(name, () => this.#lift());
    }
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (!this.on || event.button !== 0) return;
    if (event.target instanceof Element && event.target.closest(".tag")) return;
    event.preventDefault();
    this.pane.viewport.focus({ preventScroll: true });
    const from = this.#within(this.pane.under(event));
    const chosen = this.boxes[this.chosen];
    if (chosen && contains(chosen, from)) {
      const { x1, y1, x2, y2 } = chosen;
      const { width, height } = this.pane;
      this.#begin(event, (to) => {
        const x = Math.min(Math.max(to.x - from.x, -x1), width - x2);
        const y = Math.min(Math.max(to.y - from.y, -y1), height - y2);
        Object.assign(chosen, { x1: x1 + x, y1: y1 + y, x2: x2 + x, y2: y2 + y });
      });
      return;
    }
    /** @type {Box | null} */
    let made = null;
    this.#begin(event, (to) => {
      if (!made) {
        made = { class: this.acts.class(), x1: from.x, y1: from.y, x2: to.x, y2: to.y };
        this.boxes.push(made);
        this.chosen = this.boxes.length - 1;
      }
      Object.assign(made, { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
    });
  }

  /**
   * @param {PointerEvent} event
   * @param {(to: Point) => void} act
   */
  #begin(event, act) {
    if (!this.on) return;
    this.pane.viewport.setPointerCapture(event.pointerId);
    this.drag = { from: this.#within(this.pane.under(event)), act, moved: false };
  }

  #lift() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (!drag.moved) {
      // A click chooses the smallest box that is there.
      const under = this.boxes
        .map((box, index) => ({ box, index }))
        .filter(({ box }) => contains(box, drag.from))
        .sort((one, other) => areaOf(one.box) - areaOf(other.box));
      this.#choose(under[0]?.index ?? -1);
      return;
    }
    const box = this.boxes[this.chosen];
    const [xs, ys] = [
      [box.x1, box.x2].sort((a, b) => a - b),
      [box.y1, box.y2].sort((a, b) => a - b),
    ];
    Object.assign(box, { x1: xs[0], y1: ys[0], x2: xs[1], y2: ys[1] });
    if (xs[1] - xs[0] < 1 || ys[1] - ys[0] < 1) {
      this.boxes.splice(this.chosen, 1);
      this.chosen = -1;
    }
    this.#changed();
  }

  /**
   * @param {Point} point
   * @returns {Point}
   */
  #within({ x, y }) {
    const { width, height } = this.pane;
    return { x: Math.min(Math.max(x, 0), width), y: Math.min(Math.max(y, 0), height) };
  }
}

/**
 * @param {Box} box
 * @param {Point} point
 */
function contains({ x1, y1, x2, y2 }, { x, y }) {
  return x >= x1 && x <= x2 && y >= y1 && y <= y2;
}

/** @param {Box} box */
function areaOf({ x1, y1, x2, y2 }) {
  return (x2 - x1) * (y2 - y1);
}
