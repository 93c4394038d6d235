/**
 * The list of operations, and what they are called.
 * @module
 */
import { byId, h, replace } from "./dom.js";
import { known, t } from "./i18n.js";

/** @typedef {import("./operations.js").Operation} Operation */

/**
 * @param {Operation[]} operations
 * @param {Operation | string} current an operation, or the name of another view
 * @param {string[]} others names of views that are no operations
 */
export function showRail(operations, current, others) {
  const rail = byId("rail");
  const focused = rail.contains(document.activeElement);
  /** @type {Map<string, Operation[]>} */
  const groups = new Map();
  const several = new Set(operations.map((operation) => operation.group)).size > 1;
  for (const operation of operations) {
    const count = operation.pictures.filter((field) => field.required).length;
    const words = t(["more-pictures", "one-picture", "two-pictures"][count] ?? "more-pictures");
    const title = several ? `${operation.group} · ${words}` : words;
    groups.set(title, [...(groups.get(title) ?? []), operation]);
  }
  const entry = (/** @type {Operation | string} */ view) => {
    const here = view === current ? "page" : null;
    const [href, title, words] =
      typeof view === "string"
        ? [`#${view}`, t(`${view}-about`), t(view)]
        : [`#${view.name}`, summaryOf(view), titleOf(view)];
    return h("li", {}, h("a", { href, "aria-current": here, title }, words));
  };
  replace(
    rail,
    [...groups].flatMap(([title, members]) => [
      h("h2", {}, title),
      h("ul", {}, members.map(entry)),
    ]),
    others.length > 0 && [h("h2", {}, t("own-models")), h("ul", {}, others.map(entry))],
  );
  const here = rail.querySelector("[aria-current]");
  here?.scrollIntoView({ block: "nearest", inline: "center" });
  if (focused && here instanceof HTMLElement) here.focus({ preventScroll: true });
}

/** @param {Operation} operation */
export function titleOf(operation) {
  const spaced = operation.name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return known(`#${operation.name}`) ?? spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** @param {Operation} operation */
export function summaryOf(operation) {
  return known(`#${operation.name}.`) ?? operation.summary;
}
