/**
 * Signing in and out.
 * @module
 */
import { byId, h, replace } from "./dom.js";
import { t } from "./i18n.js";
import { Refused } from "./session.js";

export class Account {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./start.js").FirstAccount | null} first the account that quick start has made
   */
  constructor(session, first) {
    this.session = session;
    this.first = first;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("session"));
    /** @type {Promise<boolean> | null} */
    this.asking = null;
    session.addEventListener("change", () => this.show());
    byId("account").addEventListener("click", () =>
      session.open ? session.signOut() : this.signIn(),
    );
    this.show();
  }

  /** Say who is signed in. */
  show() {
    const { open, name } = this.session;
    replace(
      byId("account"),
      open && name && h("span", { class: "who" }, `${name} ·`),
      open ? t("sign-out") : t("sign-in"),
    );
  }

  /**
   * Ask for name and password, or for a token of the identity provider. Callers that ask meanwhile get the
   * same answer.
   * @param {string} [reason]
   * @returns {Promise<boolean>} whether somebody is signed in
   */
  signIn(reason = "") {
    this.asking ??= this.#ask(reason).finally(() => (this.asking = null));
    return this.asking;
  }

  /**
   * @param {string} reason
   * @returns {Promise<boolean>}
   */
  #ask(reason) {
    const { dialog, session } = this;
    const first = session.name || session.external ? null : this.first;
    const known = session.name || (first?.username ?? "");
    const name = field("username", "text", "username", known);
    const password = field("password", "password", "current-password");
    const token = field("token", "password", "off");
    const problem = h("p", { class: "problem", role: "alert" });
    const go = h("button", { type: "submit", class: "primary" }, t("sign-in"));
    const later = h("button", { type: "button", class: "quiet" }, t("later"));
    const form = h(
      "form",
      {},
      h("h2", { id: "session-title" }, t("session-title")),
      h("p", { class: "muted" }, reason || t(session.external ? "token-help" : "session-help")),
      first && h("p", { class: "hint" }, t("first-account", { ...first })),
      ...(session.external
        ? [h("label", {}, t("token"), token)]
        : [h("label", {}, t("username"), name), h("label", {}, t("password"), password)]),
      problem,
      h("div", { class: "row" }, go, later),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        if (session.external) session.take(token.value);
        else problem.textContent = await this.#tried(name.value, password.value);
      } finally {
        go.disabled = false;
      }
      if (session.open) dialog.close();
    });
    later.addEventListener("click", () => dialog.close());
    replace(dialog, form);
    dialog.showModal();
    (session.external ? token : known ? password : name).focus();
    return new Promise((resolve) =>
      dialog.addEventListener("close", () => resolve(session.open), { once: true }),
    );
  }

  /**
   * @param {string} name
   * @param {string} password
   * @returns {Promise<string>} what is wrong, if anything
   */
  async #tried(name, password) {
    try {
      await this.session.signIn(name, password);
      return "";
    } catch (error) {
      if (error instanceof Refused) return error.status === 401 ? t("wrong-password") : error.message;
      if (error instanceof TypeError) return t("error-offline-long");
      throw error;
    }
  }
}

/**
 * @param {string} id
 * @param {string} type
 * @param {string} autocomplete
 * @param {string} [value]
 */
function field(id, type, autocomplete, value = "") {
  return h("input", { id, name: id, type, autocomplete, value, required: true });
}
