/**
 * Who has recognised something, and what the scores mean.
 * @module
 */
import { REMOTE } from "../abilities.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";

/**
 * Name the provider, if it is not this machine, and the model.
 * @param {any} info
 * @returns {[string, string][]}
 */
export function answeredBy({ provider, model }) {
  /** @type {[string, string][]} */
  const rows = [];
  if (provider === REMOTE) rows.push([t("provider"), provider]);
  if (model) rows.push([t("model"), model]);
  return rows;
}

/**
 * @param {any} info
 * @param {string} operation
 */
export function aboutScores({ provider, model, missing }, operation) {
  const whose = provider === REMOTE ? "remote" : model ? "model" : operation;
  return h(
    "p",
    { class: "help" },
    t(`scores-${whose}`, { name: provider }),
    missing?.length > 0 && ` ${t("models-missing", { names: missing.join(", ") })}`,
  );
}
