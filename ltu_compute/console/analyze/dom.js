/**
 * Elements, without a framework and without markup in texts.
 * @module
 */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Child | Child[]} Children */
/** @typedef {Record<string, unknown>} Props */

const CLICK_MS = 50; // after a pointer's release, in which its click follows: a finger's follows late
const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected"]);

/** Attributes of a small button. */
export const SMALL = { type: "button", class: "small" };

/**
 * Return an HTML element. `on…` are listeners, `style` an object of CSS properties.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Children} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  dress(element, props);
  fill(element, ...children);
  return element;
}

/**
 * Return an SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Children} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, props = {}, ...children) {
  const element = /** @type {SVGElementTagNameMap[K]} */ (document.createElementNS(SVG, tag));
  dress(element, props);
  fill(element, ...children);
  return element;
}

/**
 * @param {HTMLElement | SVGElement} element
 * @param {Props} props
 */
function dress(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (name === "style") {
      for (const [property, set] of Object.entries(/** @type {object} */ (value))) {
        element.style.setProperty(property, String(set));
      }
    } else if (PROPERTIES.has(name)) {
      Reflect.set(element, name, value);
    } else if (value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/**
 * @param {Element} element
 * @param {...Children} children
 */
export function fill(element, ...children) {
  element.append(...present(children));
}

/**
 * Put children in the place of those that an element has.
 * @param {Element} element
 * @param {...Children} children
 */
export function replace(element, ...children) {
  element.replaceChildren(...present(children));
}

/** @type {Node | null} what a pointer was pressed on, until its click has been handled */
let pressed = null;
/** @type {Map<Element, () => void>} */
const postponed = new Map();

/** @param {Event} event */
function press({ target }) {
  pressed = target instanceof Node ? target : null;
}

function release() {
  pressed = null;
  setTimeout(() => {
    const draws = pressed ? [] : [...postponed.values()];
    if (draws.length) postponed.clear();
    for (const draw of draws) draw();
  });
}

document.addEventListener("pointerdown", press, true);
document.addEventListener("pointerup", () => setTimeout(release, CLICK_MS), true);
for (const type of ["click", "pointercancel"]) document.addEventListener(type, release, true);

/**
 * Draw a part of the page anew; while a pointer is pressed on it, after that.
 *
 * A button that is replaced between press and release gets no click.
 * @param {Element} place
 * @param {() => void} draw replaces what the place contains
 */
export function redraw(place, draw) {
  if (pressed && place.contains(pressed)) {
    postponed.set(place, draw);
    return;
  }
  postponed.delete(place);
  draw();
}

/**
 * @param {Children[]} children
 * @returns {(Node | string)[]}
 */
function present(children) {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/**
 * Return the element of the page that has an id.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page lacks #${id}`);
  return found;
}

/**
 * Return a function that calls another one at most once in a while, and after the last call.
 * @param {() => void} call
 * @param {number} ms
 * @returns {(() => void) & {pending: () => boolean}}
 */
export function throttled(call, ms) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const later = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      call();
    }, ms);
  };
  return Object.assign(later, { pending: () => timer !== undefined });
}

/**
 * Return a function that calls another one once calls have ceased for a while.
 * @template {unknown[]} A
 * @param {(...given: A) => void} call
 * @param {number} ms
 * @returns {((...given: A) => void) & {cancel: () => void, pending: () => boolean}}
 */
export function debounced(call, ms) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const cancel = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const later = (/** @type {A} */ ...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      call(...given);
    }, ms);
  };
  return Object.assign(later, { cancel, pending: () => timer !== undefined });
}
