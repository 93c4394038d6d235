/**
 * Parts of the panel beside the pictures of a data set.
 * @module
 */
import { segments } from "./controls.js";
import { SMALL, h } from "./dom.js";
import { percent, t } from "./i18n.js";

/** @typedef {import("./train.js").DataSet} DataSet */
/** @typedef {import("./train.js").Kind} Kind */

/** @typedef {{open: boolean, name: string, kind: Kind}} Draft of a data set */


/**
 * Ask for an API key, or say that there is one.
 * @param {boolean} isOpen
 * @param {object} acts
 * @param {(key: string) => void} acts.open
 * @param {() => void} acts.close
 */
export function keyStep(isOpen, acts) {
  if (isOpen) {
    const change = { ...SMALL, id: "train-close", class: "quiet small", onclick: acts.close };
    return h(
      "section",
      { class: "train-step row spread" },
      h("span", { class: "muted" }, t("train-key-open")),
      h("button", change, t("train-key-close")),
    );
  }
  const key = h("input", {
    type: "password",
    id: "train-key",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    acts.open(key.value.trim());
  };
  return h(
    "section",
    { class: "train-step" },
    h("h2", {}, t("train-key")),
    h("p", { class: "help" }, t("train-key-help")),
    h("code", { class: "command" }, "ltu-compute apikey add ACCOUNT"),
    h(
      "form",
      { class: "train-form", onsubmit },
      h("label", { for: "train-key" }, t("train-key-label")),
      h("div", { class: "row" }, key, h("button", { type: "submit", class: "primary" }, t("train-key-use"))),
    ),
  );
}

/**
 * Choose a data set, or make one.
 * @param {DataSet[]} sets
 * @param {DataSet | null} set the one in use
 * @param {object} acts
 * @param {(set: DataSet) => void} acts.choose
 * @param {(name: string, type: Kind) => void} acts.create
 * @param {() => void} acts.remove
 * @param {Draft} draft of the one that is made next, kept while the panel is made anew
 */
export function setStep(sets, set, acts, draft) {
  const choice = h(
    "select",
    {
      id: "train-set",
      "aria-label": t("train-set"),
      onchange: () => acts.choose(sets[Number(choice.value)]),
    },
    sets.map((each, index) =>
      h("option", { value: String(index), selected: each === set }, each.name),
    ),
  );
  const name = h("input", { type: "text", id: "train-name", required: true, maxlength: 100, value: draft.name });
  name.addEventListener("input", () => (draft.name = name.value));
  const kinds = segments(
    t("train-kind"),
    [
      ["detection", t("train-detection")],
      ["classification", t("train-classification")],
    ],
    draft.kind,
    (value) => (draft.kind = /** @type {Kind} */ (value)),
  );
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    acts.create(name.value.trim(), draft.kind);
  };
  const remove = { ...SMALL, class: "quiet small", onclick: acts.remove };
  // Before it opens: a toggle event is late, when all may have been made anew.
  const onclick = () => (draft.open = !draft.open);
  draft.open ||= !sets.length;
  return h(
    "section",
    { class: "train-step" },
    h("h2", {}, t("train-set")),
    sets.length > 0 && h("div", { class: "row" }, choice, set && h("button", remove, t("train-delete-set"))),
    h(
      "details",
      { open: draft.open, class: "section" },
      h("summary", { onclick }, t("train-new")),
      h(
        "form",
        { class: "train-form", onsubmit },
        h("label", { for: "train-name" }, t("train-name")),
        name,
        kinds,
        h("div", { class: "row" }, h("button", { type: "submit" }, t("train-create"))),
      ),
    ),
  );
}

/**
 * Return the name of a class, and what gives it another one.
 * @param {string} name
 * @param {string} color
 * @param {object} acts
 * @param {string} acts.id of what begins it
 * @param {boolean} acts.renaming
 * @param {string} acts.typed so far
 * @param {(typed: string) => void} acts.type
 * @param {(yes: boolean) => void} acts.begin
 * @param {(given: string) => void} acts.rename
 */
export function className(name, color, { id, renaming, typed, type, begin, rename }) {
  const patch = h("i", { class: "patch", style: { background: color } });
  if (!renaming) {
    const words = t("train-rename", { name });
    const start = { type: "button", class: "quiet small", id, title: words, "aria-label": words, onclick: () => begin(true) };
    return h("span", {}, patch, name, h("button", start, "✎"));
  }
  const input = h("input", { type: "text", id: "train-new-name", value: typed, required: true, maxlength: 100, "aria-label": t("train-new-name", { name }) });
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    rename(input.value.trim());
  };
  input.addEventListener("input", () => type(input.value));
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") begin(false);
  };
  return h("form", { class: "row", onsubmit, onkeydown }, patch, input, h("button", { type: "submit", class: "small" }, t("train-rename-do")));
}

/**
 * The figures of a model.
 * @param {Record<string, any>} metrics
 */
export function metricsOf(metrics) {
  const figures = ["map", "accuracy", "precision", "recall"].filter((name) => name in metrics);
  return h(
    "div",
    {},
    h(
      "dl",
      { class: "figures" },
      figures.map((name) =>
        h("div", {}, h("dt", {}, t(`train-${name}`)), h("dd", {}, percent(metrics[name], 0))),
      ),
    ),
    h("p", { class: "help" }, t("train-held", { n: metrics.held_out_images })),
    (metrics.warnings ?? []).map((/** @type {string} */ warning) => h("p", { class: "help" }, warning)),
  );
}
