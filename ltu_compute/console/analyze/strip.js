/**
 * The pictures of a data set in a row, each with what is known of it.
 * @module
 */
import { Failure } from "./api.js";
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {import("./train.js").Shot} Shot */
/** @typedef {import("./pictures.js").Picture} Picture */

const TYPES = "image/jpeg,image/png,image/gif,.zip";

export class Strip {
  /**
   * @param {object} acts
   * @param {(files: File[]) => void} acts.add
   * @param {(at: number) => void} acts.look
   * @param {(shot: Shot) => Promise<Picture>} acts.load
   */
  constructor(acts) {
    this.acts = acts;
    this.element = h("div", { class: "strip" });
    this.said = h("span", { class: "strip-said", role: "status" });
    /** @type {Shot[]} */
    this.shots = [];
    this.listed = ""; // which pictures, in which language
    this.observer = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) this.#thumbnail(/** @type {HTMLElement} */ (target));
      }
    });
  }

  /**
   * Show pictures; what has not changed stays as it is.
   * @param {Shot[]} shots
   * @param {number} at which one is looked at; -1: none
   * @param {boolean} labels whether pictures have labels, not boxes
   */
  show(shots, at, labels) {
    this.shots = shots;
    const key = [t("train-add"), ...shots.map(({ id }) => id)].join(" ");
    if (key !== this.listed) this.#list();
    this.listed = key;
    this.element.querySelectorAll(".thumb").forEach((thumb, index) => {
      if (index === at) thumb.setAttribute("aria-current", "true");
      else thumb.removeAttribute("aria-current");
      const badge = thumb.querySelector(".badge");
      badge?.replaceWith(badgeOf(shots[index], labels));
    });
  }

  /** Bring the picture that is looked at into sight. */
  reveal() {
    const here = this.element.querySelector("[aria-current]");
    here?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /**
   * Return what adds pictures.
   * @param {string} kind its class
   */
  adder(kind) {
    const input = h("input", { type: "file", accept: TYPES, multiple: true, class: "quietly" });
    input.addEventListener("change", () => this.acts.add([...(input.files ?? [])]));
    return h("label", { class: `button ${kind}` }, t("train-add"), input);
  }

  /** List the pictures anew; their small versions are drawn once they are in sight. */
  #list() {
    const focused = this.element.contains(document.activeElement);
    this.observer.disconnect();
    const entry = (/** @type {Shot} */ shot, /** @type {number} */ index) => {
      const button = h(
        "button",
        {
          type: "button",
          class: "thumb",
          "data-at": index,
          title: shot.name,
          onclick: () => this.acts.look(index),
        },
        h("canvas", { width: 96, height: 72 }),
        h("span", { class: "thumb-name" }, shot.name),
        h("small", { class: "badge" }),
      );
      this.observer.observe(button);
      return h("li", {}, button);
    };
    replace(
      this.element,
      this.adder("add"),
      h("ol", { "aria-label": t("train-pictures") }, this.shots.map(entry)),
      this.said,
    );
    if (focused) this.element.querySelector("input")?.focus();
  }

  /** @param {HTMLElement} button */
  async #thumbnail(button) {
    this.observer.unobserve(button);
    const shot = this.shots[Number(button.dataset.at)];
    const canvas = button.querySelector("canvas");
    if (!shot || !canvas) return;
    try {
      const picture = await this.acts.load(shot);
      const bitmap = await createImageBitmap(picture.blob);
      const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
      const [width, height] = [bitmap.width * scale, bitmap.height * scale];
      const [x, y] = [(canvas.width - width) / 2, (canvas.height - height) / 2];
      canvas.getContext("2d")?.drawImage(bitmap, x, y, width, height);
      bitmap.close();
    } catch (error) {
      if (!(error instanceof Failure || error instanceof DOMException)) throw error;
    }
  }
}

/**
 * @param {Shot} shot
 * @param {boolean} labels
 */
function badgeOf({ boxes, label }, labels) {
  const open = labels ? !label : boxes === null;
  const words = labels
    ? label
    : boxes?.length
      ? t("train-boxes", { n: boxes.length })
      : t("train-empty");
  return h("small", { class: open ? "badge open" : "badge" }, open ? t("train-unlabelled") : words);
}
