/**
 * A place for a picture: drop, paste, choose, photograph or name the address of one; then a pane.
 * @module
 */
import { fill, h, replace } from "./dom.js";
import { bytes, known, t } from "./i18n.js";
import { Pane } from "./stage.js";

/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {import("./operations.js").PictureField} PictureField */

/**
 * @typedef {object} Giving
 * @property {(files: File[]) => void} files
 * @property {(transfer: DataTransfer | null) => void} dropped
 * @property {(address: string) => Promise<void>} address
 * @property {() => void} removal
 */

const TYPES = "image/jpeg,image/png,image/gif,image/*";

export class Slot {
  /**
   * @param {PictureField} field
   * @param {Giving} giving
   */
  constructor(field, giving) {
    this.field = field;
    this.giving = giving;
    this.pane = new Pane(field.name);
    this.head = h("header", { class: "slot-head" });
    this.place = h("div", { class: "place" });
    this.problem = h("div", { class: "problem", role: "alert", id: `problem-${field.name}` });
    this.element = h(
      "section",
      { class: "slot", "data-picture": field.name, "aria-label": field.name },
      this.head,
      this.place,
      this.problem,
    );
    this.#takeDrops();
    this.show(undefined);
  }

  /** @param {Picture | undefined} picture */
  show(picture) {
    this.tell(null);
    const { name } = this.field;
    const description = known(`${name}?`) ?? this.field.description;
    if (!picture?.width) this.pane.empty();
    if (!picture) {
      replace(this.head, h("strong", {}, name), h("span", { class: "muted" }, description));
      replace(this.place, this.#empty());
      return;
    }
    const size = picture.width ? `${picture.width} × ${picture.height} px` : t("not-shown");
    replace(
      this.head,
      h(
        "div",
        { class: "what", title: `${picture.source || picture.name} · ${size}` },
        h("span", { class: "file", dir: "auto" }, picture.name),
        h("span", { class: "muted" }, `${name} · ${size} · ${bytes(picture.blob.size)}`),
      ),
      this.#chooser("replace", "quiet small"),
      h(
        "button",
        {
          type: "button",
          class: "quiet small",
          title: t("remove"),
          "aria-label": `${t("remove")}: ${name}`,
          onclick: this.giving.removal,
        },
        h("span", { class: "said" }, t("remove")),
        h("span", { class: "sign", "aria-hidden": true }, "×"),
      ),
    );
    if (!picture.width) {
      replace(
        this.place,
        h(
          "div",
          { class: "unreadable", role: "alert" },
          h("p", { class: "lead" }, t("unreadable", { name: picture.name })),
          h("p", {}, t(`file-${picture.unreadable}`)),
        ),
      );
      return;
    }
    replace(this.place, this.pane.element);
    this.pane.show(picture);
  }

  /** Put the focus where the one who has given or removed the picture goes on. */
  focus() {
    const next = this.place.querySelector(".viewport, input");
    if (next instanceof HTMLElement) next.focus({ preventScroll: true });
  }

  /**
   * Show what is wrong with the picture.
   * @param {string | null} message
   * @param {...HTMLElement} waysOn
   */
  tell(message, ...waysOn) {
    replace(this.problem, message && h("p", {}, message), ...waysOn);
    this.element.classList.toggle("wrong", message !== null);
  }

  #empty() {
    const address = h("input", {
      type: "url",
      placeholder: "https://…",
      "aria-label": `${t("address")}: ${this.field.name}`,
      autocomplete: "off",
      spellcheck: "false",
    });
    const fetchIt = h("button", { type: "submit" }, t("fetch"));
    const camera = h("input", {
      type: "file",
      accept: "image/*",
      capture: "environment",
      class: "quietly",
    });
    camera.addEventListener("change", () => this.giving.files([...(camera.files ?? [])]));
    const form = h(
      "form",
      {
        class: "address",
        onsubmit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          if (!address.value.trim()) return;
          fetchIt.disabled = true;
          await this.giving.address(address.value.trim());
          fetchIt.disabled = false;
        },
      },
      address,
      fetchIt,
    );
    return h(
      "div",
      { class: "empty" },
      h("p", { class: "lead" }, t("drop-here")),
      h(
        "div",
        { class: "row" },
        this.#chooser("choose", "primary"),
        h("label", { class: "button" }, t("photograph"), camera),
      ),
      form,
      h("p", { class: "muted" }, t("formats")),
    );
  }

  /**
   * @param {string} key
   * @param {string} kind
   */
  #chooser(key, kind) {
    const input = h("input", { type: "file", accept: TYPES, multiple: true, class: "quietly" });
    input.addEventListener("change", () => {
      this.giving.files([...(input.files ?? [])]);
      input.value = "";
    });
    const label = h(
      "label",
      { class: `button ${kind}`, title: t(key) },
      h("span", { class: "said" }, t(key)),
      key === "replace" && h("span", { class: "sign", "aria-hidden": true }, "⟳"),
    );
    fill(label, h("span", { class: "quietly" }, `: ${this.field.name}`), input);
    return label;
  }

  #takeDrops() {
    const inside = (/** @type {boolean} */ yes) => this.element.classList.toggle("over", yes);
    this.element.addEventListener("dragover", (event) => {
      event.preventDefault();
      inside(true);
    });
    this.element.addEventListener("dragleave", () => inside(false));
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      document.body.classList.remove("dropping");
      inside(false);
      this.giving.dropped(event.dataTransfer);
    });
  }
}
