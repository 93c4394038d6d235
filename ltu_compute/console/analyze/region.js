/**
 * The region of a picture that counts: rectangles, polygons and a mask, drawn on a pane.
 * @module
 */
import { h, replace, svg } from "./dom.js";
import { boxAround, corners } from "./geometry.js";
import { t } from "./i18n.js";
import { blobOf, canvasOf, pictureOf, release, tinted } from "./pictures.js";

/** @typedef {import("./geometry.js").Point} Point */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {"rectangle" | "polygon"} Kind */
/** @typedef {{kind: Kind, points: Point[]}} Shape */

const NUDGE_PX = 4; // an arrow key, on the screen
const CLOSE_PX = 12; // from the first corner: ends a polygon
const FIRST = 0.2; // where the corners of a region made by keyboard are, in shares

export class RegionEditor {
  /**
   * @param {import("./stage.js").Pane} pane
   * @param {string} target name of the picture that is drawn on
   * @param {string} name of the parameter that takes the mask
   * @param {() => void} onchange
   */
  constructor(pane, target, name, onchange) {
    this.pane = pane;
    this.target = target;
    this.name = name;
    this.onchange = onchange;
    /** @type {Shape[]} */
    this.shapes = [];
    /** @type {HTMLCanvasElement | null} white where an object was found, else clear */
    this.object = null;
    /** @type {Picture | undefined} */
    this.picture = undefined;
    this.commits = 0;
    /** @type {Shape | null} being drawn */
    this.draft = null;
    /** @type {Kind | null} */
    this.tool = null;
    this.lines = svg("svg", { class: "region" });
    this.dim = h("canvas", { class: "region-dim" });
    /** @type {HTMLButtonElement[]} */
    this.handles = [];
    this.hint = h("span", { class: "muted", role: "status" });
    this.#listen();
  }

  get empty() {
    return !this.shapes.length && !this.object;
  }

  /** Return how many regions there are, in words. */
  get words() {
    const parts = [];
    if (this.shapes.length) parts.push(t("roi-regions", { n: this.shapes.length }));
    if (this.object) parts.push(t("roi-object", { name: this.target }));
    return parts.join(", ");
  }

  /** Put the drawing over a picture that the pane shows anew. */
  attach() {
    const { width, height } = this.pane;
    const fits = this.dim.width === width && this.dim.height === height;
    if (!fits) {
      this.shapes = [];
      this.object = null;
      release(this.picture);
      this.picture = undefined;
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
  }

  detach() {
    this.#stop();
    this.dim.remove();
    this.lines.remove();
    for (const handle of this.handles) handle.remove();
    this.handles = [];
  }

  /**
   * Begin to draw; by keyboard a shape is put there, to be moved.
   * @param {Kind} kind
   * @param {boolean} byKeyboard
   */
  start(kind, byKeyboard) {
    if (byKeyboard) {
      const { width, height } = this.pane;
      const side = 1 - 2 * FIRST;
      const box = {
        x: FIRST * width,
        y: FIRST * height,
        width: side * width,
        height: side * height,
      };
      this.shapes.push({ kind, points: corners(box) });
      this.#commit();
      this.handles.at(-4)?.focus();
      return;
    }
    this.tool = kind;
    this.pane.frozen = true;
    this.pane.viewport.classList.add("drawing");
    this.hint.textContent = t(`roi-draw-${kind}`, { name: this.target });
  }

  /** @param {string} url of a mask of the picture */
  async take(url) {
    this.object = await tinted(url, [255, 255, 255]);
    await this.#commit();
  }

  async clear() {
    this.#stop();
    this.shapes = [];
    this.object = null;
    await this.#commit();
  }

  #listen() {
    const { viewport } = this.pane;
    viewport.addEventListener("pointerdown", (event) => this.#press(event));
    viewport.addEventListener("pointermove", (event) => this.#drag(event));
    viewport.addEventListener("pointerup", () => this.#lift());
    viewport.addEventListener("dblclick", () => this.#close());
    document.addEventListener("keydown", (event) => {
      if (!this.tool) return;
      if (event.key === "Escape") this.#stop();
      if (event.key === "Enter" && this.draft) {
        event.preventDefault();
        this.#close();
      }
    });
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (!this.tool || event.button !== 0) return;
    event.preventDefault();
    const point = this.#within(this.pane.under(event));
    if (this.tool === "rectangle") {
      this.pane.viewport.setPointerCapture(event.pointerId);
      this.draft = { kind: "rectangle", points: [point, point, point, point] };
    } else {
      this.draft ??= { kind: "polygon", points: [] };
      const { points } = this.draft;
      const far = (/** @type {Point} */ p) =>
        Math.hypot(p.x - point.x, p.y - point.y) * this.pane.scale > CLOSE_PX;
      if (points.length > 2 && !far(points[0])) this.#close();
      else if (!points.length || far(points[points.length - 1])) points.push(point);
    }
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    if (this.draft?.kind !== "rectangle") return;
    const [from] = this.draft.points;
    const to = this.#within(this.pane.under(event));
    this.draft.points = [from, { x: to.x, y: from.y }, to, { x: from.x, y: to.y }];
    this.#draw();
  }

  #lift() {
    if (this.draft?.kind === "rectangle") this.#close();
  }

  #close() {
    const { draft } = this;
    if (!draft) return;
    const box = boxAround(draft.points);
    const enough = draft.points.length > 2 && box.width >= 1 && box.height >= 1;
    this.#stop();
    if (enough) {
      const points = draft.kind === "rectangle" ? corners(box) : draft.points;
      this.shapes.push({ kind: draft.kind, points });
      this.#commit();
    }
  }

  #stop() {
    this.tool = this.draft = null;
    this.pane.frozen = false;
    this.pane.viewport.classList.remove("drawing");
    this.hint.textContent = "";
    this.#draw();
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
    const all = this.draft ? [...this.shapes, this.draft] : this.shapes;
    const outline = (/** @type {Shape} */ shape, /** @type {string} */ shade) =>
      svg(shape === this.draft && shape.kind === "polygon" ? "polyline" : "polygon", {
        points: shape.points.map(({ x, y }) => `${x},${y}`).join(" "),
        class: shade,
      });
    replace(
      this.lines,
      all.flatMap((shape) => [outline(shape, "halo"), outline(shape, "line")]),
    );
    const wanted = this.shapes.flatMap((shape, m) =>
      shape.points.map((point, n) => ({ shape, m, point, n })),
    );
    if (wanted.length !== this.handles.length) {
      for (const handle of this.handles) handle.remove();
      this.handles = wanted.map(({ m, n }) => this.#handle(m, n));
      this.pane.canvas.append(...this.handles);
    }
    wanted.forEach(({ point }, index) => {
      this.handles[index].style.setProperty("left", `${point.x}px`);
      this.handles[index].style.setProperty("top", `${point.y}px`);
    });
  }

  /**
   * @param {number} m which shape
   * @param {number} n which of its corners
   */
  #handle(m, n) {
    const label = t("roi-corner", { n: n + 1, m: m + 1 });
    const handle = h("button", { type: "button", class: "handle", "aria-label": label });
    handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      this.#moveCorner(m, n, this.pane.under(event));
    });
    handle.addEventListener("pointerup", () => this.#commit());
    handle.addEventListener("keydown", (event) => {
      const step = NUDGE_PX / this.pane.scale;
      /** @type {Record<string, [number, number]>} */
      const ways = {
        ArrowLeft: [-step, 0],
        ArrowRight: [step, 0],
        ArrowUp: [0, -step],
        ArrowDown: [0, step],
      };
      if (event.key === "Delete" || event.key === "Backspace") {
        event.preventDefault();
        this.#remove(m, n);
      } else if (ways[event.key]) {
        event.preventDefault();
        event.stopPropagation();
        const [x, y] = ways[event.key];
        const point = this.shapes[m].points[n];
        this.#moveCorner(m, n, { x: point.x + x, y: point.y + y });
        this.#commit();
      }
    });
    return handle;
  }

  /**
   * @param {number} m
   * @param {number} n
   * @param {Point} to
   */
  #moveCorner(m, n, to) {
    const { kind, points } = this.shapes[m];
    const point = this.#within(to);
    if (kind === "rectangle") {
      const before = points[n];
      this.shapes[m].points = points.map(({ x, y }, index) =>
        index === n ? point : { x: x === before.x ? point.x : x, y: y === before.y ? point.y : y },
      );
    } else {
      points[n] = point;
    }
    this.#draw();
  }

  /**
   * @param {number} m
   * @param {number} n
   */
  #remove(m, n) {
    const shape = this.shapes[m];
    if (shape.kind === "rectangle" || shape.points.length < 4) this.shapes.splice(m, 1);
    else shape.points.splice(n, 1);
    this.#commit();
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
    this.onchange();
  }

  /** Return the region as the service takes it: white counts, black does not. */
  async #mask() {
    const { canvas, context } = canvasOf(this.dim.width, this.dim.height);
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.#inside(), 0, 0);
    return pictureOf(await blobOf(canvas), `${this.name}.png`);
  }

  /** Return a sheet that is white within the region and clear outside. */
  #inside() {
    const { canvas, context } = canvasOf(this.dim.width, this.dim.height);
    if (this.object) context.drawImage(this.object, 0, 0, canvas.width, canvas.height);
    context.fillStyle = "#fff";
    for (const { points } of this.shapes) {
      context.beginPath();
      for (const { x, y } of points) context.lineTo(x, y);
      context.closePath();
      context.fill();
    }
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
