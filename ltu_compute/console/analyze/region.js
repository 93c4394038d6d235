/**
 * Regions of a picture: what is compared and what is ignored, drawn, moved and named on a pane.
 * @module
 */
import { h, replace, svg } from "./dom.js";
import { areaOf, boxAround, corners } from "./geometry.js";
import { t } from "./i18n.js";
import { NUDGE_PX } from "./keys.js";
import { blobOf, canvasOf, pictureOf, release } from "./pictures.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {"compare" | "ignore"} Use */
/** @typedef {{use: Use, name: string, points: Point[]}} Shape */
/** @typedef {{name: string, width: number, height: number, shapes: Shape[]}} Lost */

const CLICK_PX = 5; // on the screen: a shorter way is a click, a longer one a drag
const CLOSE_PX = 12; // from the first corner: ends a polygon
const FIRST = 0.2; // where the corners of a region made by keyboard are, in shares
const SAME_ASPECT = 0.01; // relative: regions of a picture fit another one
const CENTRE = 0.5; // of the first pixel, where the service counts from

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class RegionEditor {
  /**
   * @param {import("./stage.js").Pane} pane
   * @param {string} target name of the picture that is drawn on
   * @param {string} name of the parameter that takes the mask
   * @param {object} acts
   * @param {() => void} acts.changed where is compared
   * @param {() => void} acts.shown a name or the chosen region
   * @param {(lost: Lost, fits: boolean) => void} acts.lost regions went with their picture
   */
  constructor(pane, target, name, acts) {
    this.pane = pane;
    this.target = target;
    this.name = name;
    this.acts = acts;
    /** @type {Shape[]} */
    this.shapes = [];
    /** @type {Picture | undefined} the mask */
    this.picture = undefined;
    /** @type {Picture | undefined} what is drawn on */
    this.owner = undefined;
    /** @type {Lost | null} regions of a picture that was taken away */
    this.lost = null;
    this.commits = 0;
    /** @type {Use | null} of the region that is about to be drawn */
    this.tool = null;
    /** @type {Point[]} corners of the region being drawn */
    this.draft = [];
    this.corners = 0; // of the draft that were clicked; none: it is dragged
    /** @type {Point | null} where the pointer was pressed */
    this.pressed = null;
    /** @type {Shape | null} whose corners can be moved */
    this.chosen = null;
    this.lines = svg("svg", { class: "region" });
    this.dim = h("canvas", { class: "region-dim" });
    /** @type {HTMLButtonElement[]} of the chosen region: corners, and the middles between them */
    this.handles = [];
    /** @type {Map<Shape, HTMLButtonElement>} */
    this.tags = new Map();
    this.hint = h("p", { class: "help", role: "status" });
    this.#listen();
  }

  get empty() {
    return !this.shapes.length;
  }

  /**
   * Return what a region is called that has no name of its own.
   * @param {Shape} shape
   */
  numbered(shape) {
    const n = this.shapes.filter(({ use }) => use === shape.use).indexOf(shape) + 1;
    return t(`roi-${shape.use}-n`, { n });
  }

  /** @param {Shape} shape */
  nameOf(shape) {
    return shape.name || this.numbered(shape);
  }

  /**
   * Return the regions as a recipe has them: in px, the centre of the first one is (0, 0).
   * @returns {{name: string, use: Use, polygon: [number, number][]}[]}
   */
  get regions() {
    return this.shapes.map((shape) => ({
      name: this.nameOf(shape),
      use: shape.use,
      polygon: shape.points.map(({ x, y }) => [x - CENTRE, y - CENTRE]),
    }));
  }

  /**
   * Take the regions of a recipe in place of those that are there.
   * @param {{name?: string, use?: Use, polygon: [number, number][]}[]} regions
   */
  async load(regions) {
    this.#stop();
    this.shapes = regions.map(({ name = "", use = "compare", polygon }) => ({
      name,
      use,
      points: this.#points(polygon),
    }));
    this.chosen = null;
    await this.#commit();
  }

  /**
   * Put the drawing over a picture that the pane shows anew; regions of another one go.
   * @param {Picture} picture
   */
  attach(picture) {
    const { width, height } = this.pane;
    this.#leave(picture);
    this.owner = picture;
    const fits = this.dim.width === width && this.dim.height === height;
    if (!fits) {
      this.dim.width = width;
      this.dim.height = height;
    }
    for (const [name, value] of Object.entries({
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
    })) {
      this.lines.setAttribute(name, String(value));
    }
    this.pane.canvas.append(this.dim, this.lines);
    this.#draw();
    this.#shade();
    if (this.lost) this.acts.lost(this.lost, this.#takes(this.lost));
  }

  detach() {
    this.#stop();
    this.dim.remove();
    this.lines.remove();
    for (const part of [...this.handles, ...this.tags.values()]) part.remove();
    this.handles = [];
    this.tags.clear();
  }

  /** Say that the picture was taken away, and its regions with it. */
  forget() {
    this.#leave(undefined);
    if (this.lost) this.acts.lost(this.lost, false);
  }

  /** Draw the regions of the picture before on the one that is there now. */
  async restore() {
    const { lost, owner } = this;
    if (!lost || !owner) return;
    this.lost = null;
    const scale = this.pane.width / lost.width;
    this.shapes = lost.shapes.map((shape) => ({
      ...shape,
      points: shape.points.map(({ x, y }) => this.#within({ x: x * scale, y: y * scale })),
    }));
    await this.#commit();
  }

  /** @param {Picture | undefined} picture the one that is shown now */
  #leave(picture) {
    const { owner, shapes } = this;
    if (!owner || owner === picture) return;
    const { name, width, height } = owner;
    if (!this.empty) this.lost = { name, width, height, shapes };
    this.owner = undefined;
    this.shapes = [];
    this.chosen = null;
    release(this.picture);
    this.picture = undefined;
    this.commits += 1; // a mask in the making is that of the picture before
    this.acts.shown();
  }

  /** @param {Lost} lost */
  #takes({ width, height, shapes }) {
    const ratio = (width * this.pane.height) / (height * this.pane.width);
    return shapes.length > 0 && Math.abs(Math.log(ratio)) < SAME_ASPECT;
  }

  /**
   * Begin to draw: a drag makes a rectangle, clicks make the corners of a polygon. By keyboard a
   * rectangle is put there, to be moved.
   * @param {Use} use
   * @param {boolean} byKeyboard
   */
  start(use, byKeyboard) {
    if (byKeyboard) {
      const { width, height } = this.pane;
      const side = 1 - 2 * FIRST;
      const [x, y] = [FIRST * width, FIRST * height];
      this.#add(use, corners({ x, y, width: side * width, height: side * height }));
      this.handles[0]?.focus();
      return;
    }
    this.#stop();
    this.tool = use;
    this.pane.frozen = true;
    this.pane.viewport.classList.add("drawing");
    this.hint.textContent = t("roi-draw", { name: this.target });
  }

  /**
   * Add a region of a recipe to those that are there; it takes the place of one of its name.
   * @param {{name: string, polygon: [number, number][]}} region
   */
  async add({ name, polygon }) {
    this.#stop();
    this.chosen = { use: "compare", name, points: this.#points(polygon) };
    this.shapes = [...this.shapes.filter((each) => each.name !== name), this.chosen];
    await this.#commit();
  }

  async clear() {
    this.#stop();
    this.shapes = [];
    this.chosen = this.lost = null;
    await this.#commit();
  }

  /** @param {Shape} shape */
  async remove(shape) {
    this.shapes = this.shapes.filter((each) => each !== shape);
    if (this.chosen === shape) this.chosen = this.shapes.at(-1) ?? null;
    await this.#commit();
  }

  /**
   * @param {Shape} shape
   * @param {string} name
   */
  rename(shape, name) {
    shape.name = name;
    this.#draw();
  }

  /**
   * @param {Shape} shape
   * @param {Use} use
   */
  async change(shape, use) {
    shape.use = use;
    await this.#commit();
  }

  /**
   * Show the corners of a region.
   * @param {Shape} shape
   */
  choose(shape) {
    if (this.chosen === shape) return;
    this.chosen = shape;
    this.#draw();
    this.acts.shown();
  }

  #listen() {
    const { viewport } = this.pane;
    viewport.addEventListener("pointerdown", (event) => this.#press(event));
    viewport.addEventListener("pointermove", (event) => this.#drag(event));
    viewport.addEventListener("pointerup", (event) => this.#lift(event));
    viewport.addEventListener("dblclick", () => this.#close());
    document.addEventListener("keydown", (event) => {
      if (!this.tool) return;
      if (event.key === "Escape") this.#stop();
      if (event.key === "Enter" && this.draft.length) {
        event.preventDefault();
        this.#close();
      }
    });
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (!this.tool || event.button !== 0) return;
    event.preventDefault();
    this.pane.viewport.setPointerCapture(event.pointerId);
    this.pressed = this.#within(this.pane.under(event));
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    if (!this.tool) return;
    const to = this.#within(this.pane.under(event));
    const from = this.pressed;
    const isDragged = from && this.corners === 0 && this.#apart(from, to) > CLICK_PX;
    if (isDragged) {
      this.draft = [from, { x: to.x, y: from.y }, to, { x: from.x, y: to.y }];
    } else if (this.corners > 0) {
      this.draft = [...this.draft.slice(0, this.corners), to]; // the line to the pointer
    }
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #lift(event) {
    const from = this.pressed;
    this.pressed = null;
    if (!this.tool || !from) return;
    const point = this.#within(this.pane.under(event));
    if (this.corners === 0 && this.#apart(from, point) > CLICK_PX) {
      this.corners = this.draft.length;
      this.#close();
      return;
    }
    const clicked = this.draft.slice(0, this.corners);
    if (clicked.length > 2 && this.#apart(clicked[0], point) <= CLOSE_PX) {
      this.#close();
      return;
    }
    const last = clicked.at(-1);
    if (!last || this.#apart(last, point) > CLOSE_PX) clicked.push(point);
    this.draft = clicked;
    this.corners = clicked.length;
    this.#draw();
  }

  /**
   * Return how far two points are from each other on the screen, px.
   * @param {Point} one
   * @param {Point} other
   */
  #apart(one, other) {
    return Math.hypot(one.x - other.x, one.y - other.y) * this.pane.scale;
  }

  #close() {
    const { tool } = this;
    if (!tool || !this.corners) return;
    const points = this.draft.slice(0, this.corners);
    this.#stop();
    if (points.length > 2 && areaOf(points) >= 1) {
      this.#add(tool, isUpright(points) ? corners(boxAround(points)) : points);
    }
  }

  /**
   * @param {Use} use
   * @param {Point[]} points
   */
  #add(use, points) {
    this.chosen = { use, name: "", points };
    this.shapes.push(this.chosen);
    this.#commit();
  }

  #stop() {
    this.tool = this.pressed = null;
    this.draft = [];
    this.corners = 0;
    this.pane.frozen = false;
    this.pane.viewport.classList.remove("drawing");
    this.hint.textContent = "";
    this.#draw();
  }

  /** @param {[number, number][]} polygon of a recipe */
  #points(polygon) {
    return polygon.map(([x, y]) => this.#within({ x: x + CENTRE, y: y + CENTRE }));
  }

  /**
   * @param {Point} point
   * @returns {Point}
   */
  #within({ x, y }) {
    const { width, height } = this.pane;
    return { x: Math.min(Math.max(x, 0), width), y: Math.min(Math.max(y, 0), height) };
  }

  #draw() {
    const outline = (
      /** @type {Point[]} */ points,
      /** @type {string} */ shade,
      /** @type {"polygon" | "polyline"} */ tag = "polygon",
    ) => svg(tag, { points: points.map(({ x, y }) => `${x},${y}`).join(" "), class: shade });
    const open = this.corners > 0 ? "polyline" : "polygon";
    replace(
      this.lines,
      this.shapes.flatMap((shape) => [
        outline(shape.points, "halo"),
        outline(shape.points, `line ${shape.use} ${shape === this.chosen ? "chosen" : ""}`),
      ]),
      this.draft.length > 0 && [
        outline(this.draft, "halo", open),
        outline(this.draft, `line ${this.tool}`, open),
      ],
    );
    this.#drawTags();
    this.#drawHandles();
  }

  /** Draw names, by which regions are moved, above the regions' corners. */
  #drawTags() {
    for (const [shape, tag] of this.tags) {
      if (this.shapes.includes(shape)) continue;
      tag.remove();
      this.tags.delete(shape);
    }
    for (const shape of this.shapes) {
      const tag = this.tags.get(shape) ?? this.#tag(shape);
      const name = this.nameOf(shape);
      const { x, y } = boxAround(shape.points);
      if (tag.textContent !== name) tag.textContent = name;
      tag.setAttribute("aria-label", t("roi-move", { name }));
      tag.classList.toggle("ignore", shape.use === "ignore");
      tag.style.setProperty("left", `${x}px`);
      tag.style.setProperty("top", `${y}px`);
    }
  }

  #drawHandles() {
    const points = this.chosen && this.shapes.includes(this.chosen) ? this.chosen.points : [];
    if (this.handles.length !== 2 * points.length) {
      const focused = this.handles.findIndex((handle) => handle === document.activeElement);
      for (const handle of this.handles) handle.remove();
      this.handles = [
        ...points.map((_, n) => this.#corner(n)),
        ...points.map((_, n) => this.#middle(n)),
      ];
      if (this.owner) this.pane.canvas.append(...this.handles);
      this.handles[focused]?.focus();
    }
    points.forEach((point, n) => {
      const next = points[(n + 1) % points.length];
      place(this.handles[n], point);
      place(this.handles[points.length + n], {
        x: (point.x + next.x) / 2,
        y: (point.y + next.y) / 2,
      });
    });
  }

  /** @param {Shape} shape */
  #tag(shape) {
    const tag = h("button", { type: "button", class: "region-tag" });
    this.tags.set(shape, tag);
    if (this.owner) this.pane.canvas.append(tag);
    tag.addEventListener("focus", () => this.choose(shape));
    movable(
      tag,
      (x, y) => this.#moveShape(shape, x / this.pane.scale, y / this.pane.scale),
      () => this.#commit(),
      () => {
        this.remove(shape);
        this.pane.viewport.focus();
      },
    );
    return tag;
  }

  /**
   * A corner of the chosen region.
   * @param {number} n which
   */
  #corner(n) {
    const label = t("roi-corner", { n: n + 1 });
    const handle = h("button", { type: "button", class: "handle", "aria-label": label });
    movable(
      handle,
      (x, y) => this.#moveCorner(n, x / this.pane.scale, y / this.pane.scale),
      () => this.#commit(),
      () => this.#removeCorner(n),
    );
    return handle;
  }

  /**
   * The middle between two corners of the chosen region: where another one can be added.
   * @param {number} n the corner before
   */
  #middle(n) {
    const label = t("roi-middle", { n: n + 1 });
    const handle = h("button", { type: "button", class: "handle middle", "aria-label": label });
    const split = () => {
      const { chosen } = this;
      if (!chosen) return;
      const next = chosen.points[(n + 1) % chosen.points.length];
      const point = chosen.points[n];
      chosen.points.splice(n + 1, 0, { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 });
      this.#draw();
      this.handles[n + 1]?.focus();
    };
    handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      event.preventDefault();
      split();
      // The press goes on with the new corner, which is under the pointer.
      this.handles[n + 1]?.dispatchEvent(new PointerEvent("pointerdown", event));
    });
    handle.addEventListener("click", split); // by keyboard: a pressed one is no longer there
    return handle;
  }

  /**
   * @param {Shape} shape
   * @param {number} x px
   * @param {number} y px
   */
  #moveShape(shape, x, y) {
    const box = boxAround(shape.points);
    const { width, height } = this.pane;
    const right = Math.min(Math.max(x, -box.x), width - box.x - box.width);
    const down = Math.min(Math.max(y, -box.y), height - box.y - box.height);
    shape.points = shape.points.map((point) => ({ x: point.x + right, y: point.y + down }));
    this.#draw();
  }

  /**
   * Move a corner; a rectangle stays one.
   * @param {number} n
   * @param {number} right px
   * @param {number} down px
   */
  #moveCorner(n, right, down) {
    const { chosen } = this;
    if (!chosen) return;
    const before = chosen.points[n];
    const after = this.#within({ x: before.x + right, y: before.y + down });
    const upright = isUpright(chosen.points);
    chosen.points = chosen.points.map(({ x, y }, index) => {
      if (index === n) return after;
      if (!upright) return { x, y };
      return { x: x === before.x ? after.x : x, y: y === before.y ? after.y : y };
    });
    this.#draw();
  }

  /** @param {number} n */
  #removeCorner(n) {
    const { chosen } = this;
    if (!chosen) return;
    if (isUpright(chosen.points) || chosen.points.length < 4) this.remove(chosen);
    else {
      chosen.points = chosen.points.filter((_, index) => index !== n);
      this.#commit();
    }
    this.pane.viewport.focus();
  }

  async #commit() {
    const number = ++this.commits;
    this.#draw();
    this.#shade();
    const mask = this.empty ? undefined : await this.#mask();
    if (number !== this.commits) {
      release(mask); // drawn on meanwhile
      return;
    }
    release(this.picture);
    this.picture = mask;
    this.acts.changed();
  }

  /** Return the region as the service takes it: white counts, black does not. */
  async #mask() {
    const { canvas, context } = canvasOf(this.dim.width, this.dim.height);
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.#inside(), 0, 0);
    return pictureOf(await blobOf(canvas), `${this.name}.png`);
  }

  /** Return a sheet that is white where is compared and clear elsewhere. */
  #inside() {
    const { canvas, context } = canvasOf(this.dim.width, this.dim.height);
    context.fillStyle = "#fff";
    const fill = (/** @type {Use} */ wanted) => {
      for (const { use, points } of this.shapes) {
        if (use !== wanted) continue;
        context.beginPath();
        for (const { x, y } of points) context.lineTo(x, y);
        context.closePath();
        context.fill();
      }
    };
    const named = this.shapes.some(({ use }) => use === "compare");
    if (!named) context.fillRect(0, 0, canvas.width, canvas.height);
    fill("compare");
    context.globalCompositeOperation = "destination-out";
    fill("ignore");
    return canvas;
  }

  #shade() {
    const context = this.dim.getContext("2d");
    if (!context) return;
    const { width, height } = this.dim;
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, width, height);
    if (this.empty) return;
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(this.#inside(), 0, 0);
  }
}

/**
 * Return whether corners are those of an upright rectangle, one after the other.
 * @param {Point[]} points
 */
export function isUpright(points) {
  if (points.length !== 4) return false;
  const [a, b, c, d] = points;
  const across = a.y === b.y && b.x === c.x && c.y === d.y && d.x === a.x;
  const along = a.x === b.x && b.y === c.y && c.x === d.x && d.y === a.y;
  return across || along;
}

/**
 * @param {HTMLElement} element
 * @param {Point} point
 */
function place(element, { x, y }) {
  element.style.setProperty("left", `${x}px`);
  element.style.setProperty("top", `${y}px`);
}

/**
 * Let an element be dragged, moved by arrow keys and deleted.
 * @param {HTMLElement} element
 * @param {(x: number, y: number) => void} move by screen px
 * @param {() => void} end
 * @param {() => void} remove
 */
function movable(element, move, end, remove) {
  /** @type {Point | null} */
  let at = null;
  element.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    element.setPointerCapture(event.pointerId);
    at = { x: event.clientX, y: event.clientY };
  });
  element.addEventListener("pointermove", (event) => {
    if (!at || !element.hasPointerCapture(event.pointerId)) return;
    move(event.clientX - at.x, event.clientY - at.y);
    at = { x: event.clientX, y: event.clientY };
  });
  for (const name of ["pointerup", "pointercancel"]) {
    element.addEventListener(name, () => {
      if (at) end();
      at = null;
    });
  }
  element.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      remove();
    } else if (arrow) {
      event.preventDefault();
      event.stopPropagation();
      move(arrow[0] * NUDGE_PX, arrow[1] * NUDGE_PX);
      end();
    }
  });
}
