/**
 * Many shots against one reference: sent as a job, with a verdict for each as it arrives.
 * @module
 */
import { Failure } from "./api.js";
import { section } from "./controls.js";
import { h, replace } from "./dom.js";
import { save } from "./files.js";
import { t } from "./i18n.js";
import { percentLimits } from "./verdict.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {{position: number, shot: string, verdict: string, reason: string}} Row */

const PATH = "/v1/inspections";
const OPERATION = "differences"; // whose pictures and settings a job takes
const SETTINGS = ["threshold", "smooth", "margin", "resolution"]; // within fic_settings
const MOST = 1000; // shots; so many results are on one page
const GROUP_FILES = 50; // in one request
const GROUP_BYTES = 24e6;
const POLL_MS = 400;
const ENDED = new Set(["completed", "failed", "cancelled"]);
const ORDER = ["NG", "ERROR", "OK"]; // worst first
const SMALL = { type: "button", class: "small" };

export class Shots {
  /**
   * @param {import("./api.js").Api} api
   * @param {object} acts
   * @param {() => Promise<boolean>} acts.signedIn asks for the account where there is none
   * @param {(file: File) => void} acts.look puts a shot beside the reference
   */
  constructor(api, acts) {
    this.api = api;
    this.acts = acts;
    /** @type {File[]} */
    this.files = [];
    this.open = false;
    /** @type {any} the last known state of the job */
    this.job = null;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {File[]} those of the job */
    this.sent = [];
    this.busy = false;
    this.trouble = "";
    this.place = h("div", { class: "shots" });
  }

  /**
   * Return the section of the panel, or nothing where an operation has none.
   * @param {Desk} desk
   * @param {Record<string, any>} paths of the service
   */
  section(desk, paths) {
    if (desk.operation.name !== OPERATION || !paths[PATH]?.post) return null;
    this.desk = desk;
    const whole = section(
      t("shots"),
      this.open,
      h("p", { class: "help" }, t("shots-help")),
      this.place,
    );
    whole.id = "shots";
    whole.addEventListener("toggle", () => (this.open = whole.open));
    this.show();
    return whole;
  }

  show() {
    const { files, job, busy } = this;
    const choice = h("input", {
      type: "file",
      multiple: true,
      accept: "image/*",
      class: "quietly",
      id: "shots-files",
      onchange: () => {
        this.files = [...(choice.files ?? [])].slice(0, MOST);
        this.show();
      },
    });
    const ready = files.length > 0 && this.desk?.pictures[0] && !busy;
    const start = { type: "button", class: "primary small", id: "shots-start", disabled: !ready, onclick: () => this.start() };
    const focused = this.place.contains(document.activeElement) && document.activeElement?.id;
    const words = files.length ? t("shots-chosen", { n: files.length }) : t("shots-choose");
    replace(
      this.place,
      h("div", { class: "row" }, h("label", { class: "button small" }, words, choice)),
      !this.desk?.pictures[0] && h("p", { class: "help" }, t("shots-reference")),
      h("div", { class: "row" }, h("button", start, t("shots-start"))),
      this.trouble && h("p", { class: "problem", role: "alert" }, this.trouble),
      job && this.#progress(),
      this.rows.length > 0 && this.#list(),
    );
    if (focused) document.getElementById(focused)?.focus(); // it was made anew
  }

  #progress() {
    const { job, rows } = this;
    const ended = ENDED.has(job.state);
    const bad = rows.filter(({ verdict }) => verdict !== "OK").length;
    const told = t(ended ? "shots-ended" : "shots-running", {
      done: job.inspected,
      all: job.shots,
      bad,
    });
    const cancel = () => this.#quietly(() => this.#ask("POST", "/cancel"));
    return h(
      "div",
      {},
      h(
        "progress",
        { class: "wide", max: job.shots, "aria-label": t("shots"), value: job.inspected },
        told,
      ),
      h("p", { role: "status", id: "shots-said" }, told, job.error && ` ${job.error}`),
      h(
        "div",
        { class: "row" },
        !ended && h("button", { ...SMALL, id: "shots-cancel", onclick: cancel }, t("shots-cancel")),
        rows.length > 0 &&
          h(
            "button",
            { ...SMALL, id: "shots-report", onclick: () => this.#saveReport() },
            t("shots-report"),
          ),
      ),
    );
  }

  #list() {
    const sorted = [...this.rows].sort(
      (one, other) =>
        ORDER.indexOf(one.verdict) - ORDER.indexOf(other.verdict) ||
        one.position - other.position,
    );
    const entry = (/** @type {Row} */ { position, shot, verdict, reason }) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: `verdict ${verdict.toLowerCase()}`,
            title: t("shots-look"),
            onclick: () => this.acts.look(this.sent[position]),
          },
          h("b", {}, t(`verdict-${verdict}`)),
          h("span", {}, shot),
          reason && h("small", {}, reason),
        ),
      );
    return h("ol", { class: "verdicts" }, sorted.map(entry));
  }

  /** Send the shots, then follow the job to its end. */
  async start() {
    if (!this.desk || !(await this.acts.signedIn())) return;
    Object.assign(this, { busy: true, trouble: "", job: null, rows: [], sent: [...this.files] });
    this.show();
    await this.#quietly(async () => {
      const form = this.#form();
      form.append("open", "true");
      const answer = await this.api.ask(PATH, { method: "POST", body: form });
      this.job = await answer.json();
      for (const group of groups(this.sent)) {
        const more = new FormData();
        for (const file of group) more.append("shot", file, file.name);
        await this.#ask("POST", "/shots", more);
      }
      await this.#ask("POST", "/start");
      while (!ENDED.has(this.job.state)) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        await this.#follow();
      }
    });
    this.busy = false;
    this.show();
  }

  #form() {
    const { values, pictures, region, regionField, rules } = /** @type {Desk} */ (this.desk);
    const form = new FormData();
    const [reference] = pictures;
    if (reference) form.append("reference", reference.blob, reference.name);
    if (region?.picture && regionField) {
      form.append("region", region.picture.blob, region.picture.name);
    }
    if (values.preset !== undefined) form.append("preset", String(values.preset));
    for (const name of SETTINGS) {
      const value = values.fic_settings?.[name];
      if (value !== undefined) form.append(name, String(value));
    }
    for (const [name, value] of Object.entries(percentLimits(rules))) {
      form.append(name, String(value));
    }
    return form;
  }

  /** Ask for the job's progress, and show its results so far. */
  async #follow() {
    const before = this.job.inspected;
    await this.#ask("GET", "");
    if (this.job.inspected !== before || ENDED.has(this.job.state)) {
      const answer = await this.api.ask(`${PATH}/${this.job.id}/results?limit=${MOST}`);
      this.rows = (await answer.json()).results;
    }
    this.show();
  }

  /**
   * @param {string} method
   * @param {string} path under the job's
   * @param {FormData} [body]
   */
  async #ask(method, path, body) {
    const answer = await this.api.ask(`${PATH}/${this.job.id}${path}`, { method, body });
    this.job = await answer.json();
  }

  async #saveReport() {
    await this.#quietly(async () => {
      const answer = await this.api.ask(`${PATH}/${this.job.id}/report`);
      save(await answer.blob(), "report.html");
    });
  }

  /**
   * Do something, and say in the section what is wrong with it.
   * @param {() => Promise<void>} act
   */
  async #quietly(act) {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.trouble = error.message || t("error-offline-long");
      this.show();
    }
  }
}

/**
 * Part files into groups that one request may have.
 * @param {File[]} files
 * @returns {File[][]}
 */
function groups(files) {
  /** @type {File[][]} */
  const parted = [];
  let bytes = 0;
  for (const file of files) {
    const last = parted.at(-1);
    if (!last || last.length >= GROUP_FILES || bytes + file.size > GROUP_BYTES) {
      parted.push([file]);
      bytes = 0;
    } else {
      last.push(file);
    }
    bytes += file.size;
  }
  return parted;
}
