/**
 * The panel: settings, region of interest, what can be taken along.
 * @module
 */
import { confirmed, copyButton, section } from "./controls.js";
import { SMALL, byId, h, replace } from "./dom.js";
import { blobOfBase64, save } from "./files.js";
import { bytes, language, t } from "./i18n.js";
import { limitsSection } from "./limits.js";
import { summaryOf, titleOf } from "./rail.js";
import { RegionList } from "./regions.js";
import { picturesIn, readable } from "./reply.js";
import { printReport } from "./report.js";
import { asCurl, asJson, asPython, asToken } from "./snippets.js";

/** @typedef {import("./desk.js").Desk} Desk */


export class Panel {
  /**
   * @param {object} acts
   * @param {() => void} acts.run
   * @param {(() => void) | null} acts.takeObject draws a region around the object in the first picture
   * @param {() => string} acts.account
   * @param {import("./session.js").Session} acts.session
   * @param {(desk: Desk) => HTMLElement | null} acts.shots the section for many shots
   * @param {(desk: Desk) => HTMLElement | null} acts.recipes the section for recipes
   * @param {(operation: import("./operations.js").Operation) => boolean} acts.judges whether its result is OK or NG
   * @param {() => void} acts.judgingChanged
   * @param {() => void} acts.forget all that is on the page and kept in the browser
   */
  constructor(acts) {
    this.acts = acts;
    this.place = byId("panel");
    this.actions = h("div", { class: "actions" });
    this.kept = h("div", { class: "kept", id: "kept" });
    this.regions = new RegionList();
    this.regionClear = h("button", { type: "button", class: "quiet small" });
  }

  /** @param {Desk} desk */
  show(desk) {
    const { operation, form, region } = desk;
    const run = { type: "button", class: "primary wide", id: "run", onclick: this.acts.run };
    replace(
      this.place,
      h("h2", {}, titleOf(operation)),
      h("p", { class: "muted" }, summaryOf(operation)),
      h("button", run, t("run")),
      operation.remote && h("p", { class: "help" }, t("run-remote")),
      this.acts.recipes(desk),
      this.acts.judges(operation) && limitsSection(desk.judging, this.acts.judgingChanged),
      this.acts.shots(desk),
      section(t("settings"), true, form.element),
      region && this.#region(desk, region),
      this.actions,
      this.kept,
    );
    this.showRegion(desk);
    this.showActions(desk);
  }

  /**
   * Say what the browser keeps.
   * @param {import("./keep.js").Keeper} keeper
   */
  showKept({ database, bytes: size, full, paused }) {
    const forget = confirmed("forget", t("forget"), () => this.acts.forget());
    const words = !database
      ? t("kept-nothing")
      : full
        ? t("kept-part")
        : t(paused ? "kept-paused" : "kept", { size: bytes(size) });
    const now = `${words} ${size}`;
    if (this.kept.dataset.now === now && this.kept.lang === language()) return; // keeps the focus
    this.kept.dataset.now = now;
    this.kept.lang = language();
    replace(this.kept, h("p", { class: "help" }, words), database && !paused && size > 0 && forget);
  }

  /**
   * List the regions.
   * @param {Desk} desk
   */
  showRegion({ region }) {
    this.regions.show(region);
    const focused = document.activeElement === this.regionClear;
    this.regionClear.disabled = region?.empty ?? true;
    if (focused && this.regionClear.disabled) {
      this.regionClear.parentElement?.querySelector("button")?.focus(); // a disabled one loses it
    }
  }

  /**
   * @param {Desk} desk
   * @param {import("./region.js").RegionEditor} region
   */
  #region({ pictures, memo }, region) {
    const disabled = !pictures[0];
    const { takeObject } = this.acts;
    this.regionClear.textContent = t("roi-clear");
    this.regionClear.onclick = () => region.clear();
    const tool = (/** @type {import("./region.js").Use} */ use) => {
      // A click without a position is one of the keyboard.
      const onclick = (/** @type {MouseEvent} */ event) => region.start(use, event.detail === 0);
      const patch = h("i", { class: `patch ${use}`, "aria-hidden": true });
      return h("button", { ...SMALL, disabled, onclick }, patch, t(`roi-${use}`));
    };
    const whole = section(
      t("roi"),
      memo.regionOpen ?? false,
      h("p", { class: "help" }, t("roi-help")),
      h(
        "div",
        { class: "row", id: "region" },
        tool("compare"),
        tool("ignore"),
        takeObject && h("button", { ...SMALL, disabled, onclick: takeObject }, t("roi-object")),
        this.regionClear,
      ),
      region.hint,
      this.regions.element,
    );
    whole.addEventListener("toggle", () => (memo.regionOpen = whole.open));
    return whole;
  }

  /**
   * Offer the request, and the reply if there is one.
   * @param {Desk} desk
   */
  showActions(desk) {
    const { operation, reply, region } = desk;
    const mask = region?.picture;
    replace(
      this.actions,
      h(
        "div",
        { class: "row" },
        h("span", { class: "muted" }, t("copy-as")),
        copyButton("curl", () => asCurl(operation, desk.request.values, desk.request.pictures), SMALL),
        copyButton("Python", () => asPython(operation, desk.request.values, desk.request.pictures), SMALL),
        copyButton("JSON", () => asJson(operation, desk.request.values), SMALL),
        !this.acts.session.external &&
          copyButton(t("copy-token"), () => asToken(this.acts.session), {
            ...SMALL,
            title: t("copy-token-help"),
          }),
      ),
      h(
        "p",
        { class: "help" },
        t(this.acts.session.external ? "token-elsewhere" : "copy-token-help"),
      ),
      mask && h("p", { class: "help" }, t("copy-region", { name: mask.name })),
      (reply || mask) && this.#saving(desk),
      reply && raw(reply),
    );
  }

  /** @param {Desk} desk */
  #saving(desk) {
    const { operation, reply, region } = desk;
    const count = reply ? picturesIn(reply).length : 0;
    const mask = region?.picture;
    const offer = (
      /** @type {string} */ id,
      /** @type {string} */ words,
      /** @type {() => void} */ act,
    ) => h("button", { ...SMALL, id, onclick: act }, words);
    return h(
      "div",
      { class: "row" },
      h("span", { class: "muted" }, t("save")),
      reply &&
        offer("save-json", t("save-json"), () =>
          save(new Blob([indented(reply)], { type: "application/json" }), `${operation.name}.json`),
        ),
      count > 0 && offer("save-pictures", t("pictures", { n: count }), () => savePictures(desk)),
      mask && offer("save-region", mask.name, () => save(mask.blob, mask.name)),
      reply &&
        offer("print", t("report"), () =>
          printReport(desk, titleOf(operation), this.acts.account()),
        ),
    );
  }
}

/** @param {any} reply */
function raw(reply) {
  const text = h("pre", { tabindex: 0, "aria-label": t("raw") });
  const whole = section(
    t("raw"),
    false,
    copyButton(t("copy"), () => indented(reply), SMALL),
    text,
  );
  whole.id = "raw";
  whole.addEventListener("toggle", () => {
    if (whole.open && !text.textContent) text.textContent = readable(reply);
  });
  return whole;
}

/** @param {any} reply */
function indented(reply) {
  return JSON.stringify(reply, null, 1);
}

/** @param {Desk} desk */
function savePictures({ operation, reply }) {
  picturesIn(reply).forEach(({ path, type, base64 }, index) => {
    const last = path.slice(path.lastIndexOf(".") + 1).replace(/\W+/g, "-");
    save(blobOfBase64(base64, type), `${operation.name}-${index + 1}-${last}.png`);
  });
}
