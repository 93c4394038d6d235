/**
 * The middle of the page: places for pictures, what is drawn over them, and the figures above.
 * @module
 */
import { h, replace, svg } from "./dom.js";
import { boxAround, corners } from "./geometry.js";
import { link, Pane } from "./stage.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./slot.js").Slot} Slot */

export class Bench {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    /** @type {Slot[]} */
    this.slots = [];
    this.notice = h("div", { class: "notice", role: "alert" });
    this.remark = h("div", { class: "remark", role: "status" }); // stays when there is a reply
    this.start = h("div", {}); // what to begin with, while there is no picture
    this.readout = h("div", { class: "readout" });
    this.tools = h("div", { class: "tools" });
    this.row = h("div", { class: "row panes" });
    this.over = new Pane(""); // both pictures, one over the other
    this.overPlace = h("div", { class: "slot over-place" }, this.over.element);
    this.joints = svg("svg", { class: "joints", "aria-hidden": true });
    this.progress = h("div", { class: "progress", hidden: true });
    this.placed = new AbortController(); // of what listens to the panes that are shown
    /** @type {AbortController | null} */
    this.linked = null;
    /** Draw the lines between the panes where they are now. */
    this.redraw = () => {};
    element.append(
      this.progress,
      this.start,
      this.readout,
      this.notice,
      this.remark,
      this.tools,
      this.row,
    );
  }

  get panes() {
    return this.slots.map((slot) => slot.pane);
  }

  /** @param {Slot[]} slots */
  place(slots) {
    this.clear();
    this.slots = slots;
    this.placed.abort();
    this.placed = new AbortController();
    const { signal } = this.placed;
    for (const pane of this.panes) pane.addEventListener("move", () => this.redraw(), { signal });
    this.row.dataset.count = String(slots.length);
    this.beside();
  }

  /** Show the pictures beside each other. */
  beside() {
    const wanted = [...this.slots.map((slot) => slot.element), this.joints];
    const { childNodes } = this.row;
    const there = wanted.every((element, index) => element === childNodes[index]);
    if (there && childNodes.length === wanted.length) return; // moved, it would lose the focus
    replace(this.row, wanted);
  }

  /**
   * Show one pane with the second picture over the first.
   * @param {string} label
   */
  overlaid(label) {
    this.over.viewport.setAttribute("aria-label", label);
    if (this.overPlace.parentNode !== this.row) replace(this.row, this.overPlace);
  }

  /**
   * Take away what is drawn of a reply, and keep the view while the next one is awaited.
   * @param {import("./pictures.js").Picture} shot
   */
  wait(shot) {
    this.linked?.abort();
    for (const pane of this.panes) pane.clear();
    replace(this.joints);
    this.redraw = () => {};
    if (this.overPlace.isConnected) this.over.show(shot);
    this.#waiting(true);
  }

  /** @param {boolean} yes */
  #waiting(yes) {
    this.element.classList.toggle("waiting", yes);
    for (const part of [this.readout, this.tools]) part.inert = yes;
  }

  /** Let the stage be as high as its pictures need. */
  fitStage() {
    const ratios = this.panes.filter((pane) => pane.shown).map((pane) => pane.height / pane.width);
    this.row.style.setProperty("--tallest", String(Math.max(0.3, ...ratios)));
    this.row.style.setProperty("--columns", String(this.slots.length));
  }

  /** Take away what belongs to a reply. */
  clear() {
    this.#waiting(false);
    this.row.classList.remove("unmarked");
    this.linked?.abort();
    for (const pane of this.panes) pane.clear();
    replace(this.readout);
    replace(this.tools);
    replace(this.joints);
    this.redraw = () => {};
    this.beside();
  }

  /**
   * Let the two panes look at the same place.
   * @param {(point: Point, from: Pane) => Point} across
   */
  link(across) {
    this.linked?.abort();
    const [first, second] = this.panes;
    this.linked = link(first, second, across);
  }

  /**
   * Join places of the first picture with places of the second by lines.
   * @param {[Point[], Point[]][]} pairs outlines, in px of either picture
   */
  join(pairs) {
    const [first, second] = this.panes;
    this.redraw = () => {
      const frame = this.row.getBoundingClientRect();
      const spot = (/** @type {Pane} */ pane, /** @type {Point} */ point) => {
        const at = pane.viewport.getBoundingClientRect();
        const { x, y } = pane.onScreen(point);
        const inside = x >= 0 && y >= 0 && x <= at.width && y <= at.height;
        return { x: x + at.left - frame.left, y: y + at.top - frame.top, inside };
      };
      this.joints.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
      replace(
        this.joints,
        pairs.flatMap(([one, other]) =>
          facing(boxAround(one), boxAround(other), this.#stacked()).flatMap(([a, b]) => {
            const [from, to] = [spot(first, a), spot(second, b)];
            if (!from.inside || !to.inside) return [];
            const line = { x1: from.x, y1: from.y, x2: to.x, y2: to.y };
            return [
              svg("line", { ...line, class: "halo" }),
              svg("line", { ...line, class: "line" }),
            ];
          }),
        ),
      );
    };
    this.redraw();
  }

  #stacked() {
    const [first, second] = this.slots.map((slot) => slot.element.getBoundingClientRect());
    return second.top >= first.bottom;
  }
}

/**
 * Return the two pairs of corners that face each other.
 * @param {import("./geometry.js").Box} one
 * @param {import("./geometry.js").Box} other
 * @param {boolean} stacked whether the other is below, and not to the right
 * @returns {[Point, Point][]}
 */
function facing(one, other, stacked) {
  const [, oneTopRight, oneBottomRight, oneBottomLeft] = corners(one);
  const [topLeft, topRight, , bottomLeft] = corners(other);
  return stacked
    ? [
        [oneBottomLeft, topLeft],
        [oneBottomRight, topRight],
      ]
    : [
        [oneTopRight, topLeft],
        [oneBottomRight, bottomLeft],
      ];
}
