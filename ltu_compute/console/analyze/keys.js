/**
 * Single keys that act wherever the focus is, but where one types. They can be switched off.
 * @module
 */

const KEPT = "ltu-compute-keys";
/** Step of an arrow key, in px on the screen. */
export const NUDGE_PX = 4;
const TYPED = 'select, textarea, [contenteditable], input:not([type="checkbox"], [type="radio"], [type="range"])';

/** Return whether single keys act. */
export function keysOn() {
  return localStorage.getItem(KEPT) !== "off";
}

/** @param {boolean} on */
export function switchKeys(on) {
  localStorage.setItem(KEPT, on ? "on" : "off");
}

/**
 * Call what is assigned to a key.
 * @param {Record<string, () => unknown>} acts by key, in lower case
 */
export function listenToKeys(acts) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (!keysOn() || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target instanceof Element && target.closest(TYPED)) return;
    if (document.querySelector("dialog[open]")) return;
    const act = acts[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
