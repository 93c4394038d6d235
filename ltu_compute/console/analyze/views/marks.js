/**
 * Outlines on a pane, and the list of them: an item under the pointer lights up in both.
 * @module
 */
import { LISTED, more, newId } from "../controls.js";
import { fill, h, svg } from "../dom.js";

const MANY = 12; // marks, from which on their tags are small

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
 */

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
        const label = h(
          "span",
          {
            class: `layer tag ${marks.length > MANY ? "dense" : ""}`,
            style: { left: `${x}px`, top: `${y}px` },
          },
          tag,
        );
        label.setAttribute("aria-hidden", "true");
        pane.canvas.append(label);
        follow(label, index);
      }
    });
  });

  const list = h("ol", { class: "found", id: newId("found") });
  marks.slice(0, LISTED).forEach(({ tag, title, detail, zoomLabel }, index) => {
    const button = h(
      "button",
      { type: "button", "aria-label": zoomLabel, onclick: () => pick(index) },
      tag && h("b", {}, tag),
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
