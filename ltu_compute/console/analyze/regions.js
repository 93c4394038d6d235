/**
 * The list of regions in the panel: how each is used, its name, and its end.
 * @module
 */
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./region.js").RegionEditor} RegionEditor */
/** @typedef {import("./region.js").Shape} Shape */
/** @typedef {import("./region.js").Use} Use */

export class RegionList {
  constructor() {
    this.element = h("ul", { class: "regions" });
    /** @type {Map<Shape, HTMLElement>} rows that are there: typing in one goes on */
    this.rows = new Map();
    /** @type {RegionEditor | null} */
    this.region = null;
    this.language = "";
  }

  /** @param {RegionEditor | null} region */
  show(region) {
    const { lang } = document.documentElement;
    if (region !== this.region || lang !== this.language) this.rows.clear();
    Object.assign(this, { region, language: lang });
    const shapes = region?.shapes ?? [];
    const chosen = region?.chosen ?? null;
    for (const shape of this.rows.keys()) if (!shapes.includes(shape)) this.rows.delete(shape);
    const rows = shapes.map((shape) => {
      const row = this.rows.get(shape) ?? this.#row(shape);
      this.rows.set(shape, row);
      row.classList.toggle("chosen", shape === chosen);
      row.classList.toggle("ignore", shape.use === "ignore");
      const [use, name] = row.querySelectorAll("select, input");
      if (use instanceof HTMLSelectElement) use.value = shape.use;
      if (name instanceof HTMLInputElement) {
        if (name !== document.activeElement) name.value = shape.name;
        name.placeholder = region?.numbered(shape) ?? "";
      }
      return row;
    });
    const { children } = this.element;
    const there = rows.length === children.length && rows.every((row, n) => row === children[n]);
    if (!there) replace(this.element, rows); // moved, a row would lose the focus
  }

  /** @param {Shape} shape */
  #row(shape) {
    const region = /** @type {RegionEditor} */ (this.region);
    const uses = /** @type {Use[]} */ (["compare", "ignore"]);
    const use = h(
      "select",
      { "aria-label": t("roi-use") },
      uses.map((value) => h("option", { value }, t(`roi-${value}`))),
    );
    use.addEventListener("change", () => region.change(shape, /** @type {Use} */ (use.value)));
    const name = h("input", {
      type: "text",
      maxlength: 80,
      "aria-label": t("roi-name"),
      autocomplete: "off",
      spellcheck: "false",
    });
    name.addEventListener("input", () => region.rename(shape, name.value.trim()));
    const remove = h(
      "button",
      {
        type: "button",
        class: "quiet small",
        "aria-label": t("roi-remove", { name: region.nameOf(shape) }),
        title: t("remove"),
        onclick: () => region.remove(shape),
      },
      "×",
    );
    const row = h("li", {}, use, name, remove);
    row.addEventListener("focusin", () => region.choose(shape));
    return row;
  }
}
