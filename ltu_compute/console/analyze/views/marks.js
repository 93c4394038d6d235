/**
 * Outlines on a pane, and the list of them: an item under the pointer lights up in both.
 * @module
 */
import { check, LISTED, more, newId } from "../controls.js";
import { fill, h, svg } from "../dom.js";
import { t } from "../i18n.js";

const MANY = 12; // marks, from which on their tags are small
const LINE_PX = 4; // on the screen, that a mark's line reaches beyond its box
const GAP_PX = 6; // on the screen, between a tag and what it points at
const PLACED = 200; // tags that avoid each other; more cannot all be free

/** @typedef {import("../geometry.js").Point} Point */
/** @typedef {import("../geometry.js").Box} Box */
/** @typedef {import("../stage.js").Pane} Pane */
/** @typedef {{outline: Point[], box: Box}} Place */

/**
 * @typedef {object} Mark
 * @property {(Place | null)[]} places one on each pane
 * @property {string} tag short, drawn at the place
 * @property {string} title
 * @property {string} [detail]
 * @property {string} [zoomLabel] what the list's button says to those who do not see it
 * @property {HTMLElement} [picture] for the list
 */

/** @typedef {{label: HTMLElement, box: Box}} Tag a label on the page, and what it points at */

/**
 * Return what hides marks and shows them again.
 * @param {import("../bench.js").Bench} bench
 * @param {Record<string, any>} memo
 */
export function marksToggle(bench, memo) {
  const apply = () => bench.row.classList.toggle("unmarked", memo.marks === false);
  apply();
  return check(t("marks"), memo.marks !== false, (on) => {
    memo.marks = on;
    apply();
  });
}

/**
 * Keep tags beside what they point at, off the marks and off each other, at every zoom.
 * @param {Pane} pane
 * @param {Tag[]} tags
 */
function keepFree(pane, tags) {
  let placedAt = 0; // scale
  const update = () => {
    if (!tags[0]?.label.isConnected) {
      pane.removeEventListener("move", update);
      return;
    }
    if (pane.scale === placedAt) return;
    placedAt = pane.scale;
    placeTags(pane, tags);
  };
  pane.addEventListener("move", update);
  update();
}

/**
 * @param {Pane} pane
 * @param {Tag[]} tags
 */
function placeTags(pane, tags) {
  const { scale, width, height } = pane;
  const marks = tags.slice(0, PLACED).map(({ box }) => ({
    x: box.x * scale - LINE_PX,
    y: box.y * scale - LINE_PX,
    width: box.width * scale + 2 * LINE_PX,
    height: box.height * scale + 2 * LINE_PX,
  }));
  const whole = { x: 0, y: 0, width: width * scale, height: height * scale };
  /** @type {Box[]} */
  const placed = [];
  const sizes = tags.map(({ label }) => ({ width: label.offsetWidth, height: label.offsetHeight }));
  tags.forEach(({ label, box }, index) => {
    const size = sizes[index];
    const [left, top] = [box.x * scale - GAP_PX - size.width, box.y * scale - GAP_PX - size.height];
    const [right, bottom] = [
      (box.x + box.width) * scale + GAP_PX,
      (box.y + box.height) * scale + GAP_PX,
    ];
    const [middle, centre] = [(left + right) / 2, (top + bottom) / 2];
    const spots = [
      [right, top],
      [left, top],
      [right, bottom],
      [left, bottom],
      [middle, top],
      [middle, bottom],
      [right, centre],
      [left, centre],
    ].map(([x, y]) => ({ x, y, ...size }));
    const cost = (/** @type {Box} */ spot) => {
      const outside = size.width * size.height - shared(spot, whole);
      const onMarks = marks.reduce((sum, mark) => sum + shared(spot, mark), 0);
      const onTags = placed.reduce((sum, tag) => sum + shared(spot, tag), 0);
      return outside + 2 * onMarks + 2 * onTags;
    };
    const costs = index < PLACED ? spots.map(cost) : [0];
    const best = spots[costs.indexOf(Math.min(...costs))];
    if (index < PLACED) placed.push(best);
    label.style.setProperty("left", `${best.x / scale}px`);
    label.style.setProperty("top", `${best.y / scale}px`);
  });
}

/**
 * Return the area that two boxes share.
 * @param {Box} one
 * @param {Box} other
 */
function shared(one, other) {
  const across = Math.min(one.x + one.width, other.x + other.width) - Math.max(one.x, other.x);
  const down = Math.min(one.y + one.height, other.y + other.height) - Math.max(one.y, other.y);
  return across > 0 && down > 0 ? across * down : 0;
}

/**
 * Draw marks on panes and list them.
 * @param {Pane[]} panes
 * @param {Mark[]} marks
 * @param {{boxes?: boolean, fine?: boolean, selected?: number, onselect?: (index: number) => void}} [options]
 * @returns {HTMLElement} the list
 */
export function showMarks(panes, marks, options = {}) {
  const { boxes = false, fine = false, selected = -1, onselect } = options;
  /** @type {Element[][]} */
  const parts = marks.map(() => []);
  const light = (/** @type {number} */ index, /** @type {boolean} */ on) =>
    parts[index].forEach((part) => part.classList.toggle("lit", on));
  const pick = (/** @type {number} */ index) => {
    parts.flat().forEach((part) => part.classList.remove("chosen"));
    parts[index].forEach((part) => part.classList.add("chosen"));
    panes.forEach((pane, at) => {
      const place = marks[index].places[at];
      if (place) pane.zoomTo(place.box);
    });
    onselect?.(index);
  };
  const follow = (/** @type {Element} */ part, /** @type {number} */ index) => {
    parts[index].push(part);
    part.addEventListener("pointerenter", () => light(index, true));
    part.addEventListener("pointerleave", () => light(index, false));
  };

  panes.forEach((pane, at) => {
    const drawing = pane.draw();
    /** @type {Tag[]} */
    const tags = [];
    drawing.setAttribute("class", `layer marks ${fine ? "fine" : ""}`);
    marks.forEach(({ places, tag, title, detail }, index) => {
      const place = places[at];
      if (!place) return;
      const points = place.outline.map(({ x, y }) => `${x},${y}`).join(" ");
      const { x, y, width, height } = place.box;
      const group = svg(
        "g",
        { class: "mark", "data-mark": index },
        svg("title", {}, detail ? `${title}\n${detail}` : title),
        svg("polygon", { points, class: "halo" }),
        svg("polygon", { points, class: "line" }),
        boxes && svg("rect", { x, y, width, height, class: "box" }),
      );
      drawing.append(group);
      follow(group, index);
      group.addEventListener("dblclick", (event) => event.stopPropagation());
      group.addEventListener("click", () => pick(index));
      if (tag) {
        const dense = marks.length > MANY ? "dense" : "";
        const label = h("span", { class: `layer tag ${dense}`, "aria-hidden": "true" }, tag);
        pane.canvas.append(label);
        tags.push({ label, box: place.box });
        follow(label, index);
      }
    });
    keepFree(pane, tags);
  });

  const list = h("ol", { class: "found", id: newId("found") });
  marks.slice(0, LISTED).forEach(({ tag, title, detail, zoomLabel, picture }, index) => {
    const button = h(
      "button",
      { type: "button", "aria-label": zoomLabel, onclick: () => pick(index) },
      tag && h("b", {}, tag),
      picture,
      title && h("span", {}, title),
      detail && h("small", {}, detail),
    );
    button.addEventListener("focus", () => light(index, true));
    button.addEventListener("blur", () => light(index, false));
    follow(button, index);
    list.append(h("li", {}, button));
  });
  if (selected >= 0 && selected < marks.length) {
    parts[selected].forEach((part) => part.classList.add("chosen"));
  }
  const block = h("div", {}, list);
  fill(block, more(marks.length));
  return block;
}
