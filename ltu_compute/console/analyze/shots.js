/**
 * The queue of shots of the same part: its sources, their verdicts, one shot after the other.
 *
 * A folder is sent as a job and judged as its results arrive. A shot that is looked at is judged by
 * what the page has just computed of it.
 * @module
 */
import { Failure } from "./api.js";
import { OPERATION, SETTINGS } from "./comparison.js";
import { check, confirmed, section, segments } from "./controls.js";
import { SMALL, h, redraw, replace } from "./dom.js";
import { save } from "./files.js";
import { keysOn, switchKeys } from "./keys.js";
import { number, t } from "./i18n.js";
import { asCsv, asPage, outcomeOf, verdictOf } from "./parts.js";
import { comparisonOf, comparisonWords } from "./recipes.js";
import { Camera, canWatch, hasCamera, isPicture, sorted, watchFolder } from "./sources.js";
import { plainLimits } from "./verdict.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./parts.js").Verdict} Verdict */
/** @typedef {import("./verdict.js").Rules} Rules */

const PATH = "/v1/inspections";
const MOST = 1000; // shots of a queue
const PAGE = 1000; // results in one reply
const GROUP_FILES = 50; // in one request
const GROUP_BYTES = 24e6;
const POLL_MS = 400; // between two looks at a job, and longer with many results
const MISSED = 20; // looks at a job without an answer, after which the user is asked to go on
const LONGEST_MS = 15_000; // between two looks where the service does not answer
/** @type {import("./api.js").Kind[]} */
const PASSING = ["offline", "busy", "fault"]; // a job goes on meanwhile
const ENDED = new Set(["completed", "failed", "cancelled"]);
/** @type {Verdict[]} worst first */
const ORDER = ["NG", "ERROR", "OK", ""];

export class Shots {
  /**
   * @param {import("./api.js").Api} api
   * @param {object} acts
   * @param {(reason?: string) => Promise<boolean>} acts.signedIn asks for the account where there is none
   * @param {(file: File | undefined) => void} acts.look puts a shot beside the reference, or takes it away
   * @param {(words: string) => void} acts.hint says why a key does nothing
   * @param {() => void} acts.changed
   * @param {(desk: Desk) => [string, string][]} acts.about limits and settings in words
   */
  constructor(api, acts) {
    this.api = api;
    this.acts = acts;
    /** @type {Part[]} */
    this.parts = [];
    /** @type {Part | null} the one beside the reference */
    this.current = null;
    /** @type {Part | null} the one that takes its place once its picture is read */
    this.coming = null;
    /** @type {File | undefined} of the part that was looked at last, as it goes to the stage */
    this.shown = undefined;
    /** @type {WeakMap<Blob, Part>} whose picture it is: what is found on it is that part's alone */
    this.owners = new WeakMap();
    /** @type {Part[]} those that wait until the one on the stage is judged */
    this.arrived = [];
    this.filter = "all";
    this.ids = 0;
    /** @type {{id: string, parts: number[], under: string} | null} the job at work */
    this.running = null;
    this.open = false;
    /** @type {Desk | undefined} */
    this.desk = undefined;
    /** @type {any} the last known state of the job */
    this.job = null;
    /** @type {(Part | undefined)[]} those that it inspects */
    this.judged = [];
    this.busy = false;
    this.trouble = "";
    this.remark = "";
    /** @type {AbortController | null} of the folder that is watched */
    this.watching = null;
    this.watched = "";
    this.camera = new Camera();
    this.place = h("div", { class: "shots" });
    this.bar = h("div", { class: "part-bar" }); // above the stage: the part at hand
    /** @type {{part: Part, verdict: Verdict} | null} the part at hand keeps its place in the list, as of this verdict */
    this.held = null;
    this.offered = false;
    this.awaiting = false; // a shot of a folder or camera is being judged
  }

  /**
   * Return the section of the panel, or nothing where an operation has none.
   * @param {Desk} desk
   * @param {Record<string, any>} paths of the service
   */
  section(desk, paths) {
    this.offered = desk.operation.name === OPERATION && Boolean(paths[PATH]?.post);
    if (!this.offered) {
      replace(this.bar);
      return null;
    }
    this.desk = desk;
    const whole = section(
      t("shots"),
      this.open || this.parts.length > 0,
      h("p", { class: "help" }, t("shots-help")),
      this.place,
    );
    whole.id = "shots";
    whole.addEventListener("toggle", () => (this.open = whole.open));
    this.show();
    return whole;
  }

  /** @returns {Rules} */
  get rules() {
    return this.desk?.rules ?? { limits: {}, regions: [], mm2: 0, pxPerMm: 0 };
  }

  get under() {
    return this.desk ? comparisonOf(this.desk) : "";
  }

  /** Return the parts that are not inspected as shots are compared now. */
  get pending() {
    const { under } = this;
    return this.parts.filter((part) => part.file && (!part.outcome || part.under !== under));
  }

  /**
   * Return the parts as they are listed: those of the filter, the worst first. The part at hand stays
   * where it is when it is decided, so that the next one is the one after it.
   */
  get listed() {
    const { rules, filter, held } = this;
    const judged = this.parts.map((part, at) => {
      const found = verdictOf(part, rules);
      return { part, at, ...found, place: held?.part === part ? held.verdict : part.decision || found.verdict };
    });
    return judged
      .filter(({ place }) => filter === "all" || place === filter)
      .sort((one, other) => ORDER.indexOf(one.place) - ORDER.indexOf(other.place) || one.at - other.at);
  }

  /** @param {Part} part whose verdict or decision changes now */
  #hold(part) {
    if (part !== this.current || this.held?.part === part) return;
    this.held = { part, verdict: part.decision || verdictOf(part, this.rules).verdict };
  }

  // ------------------------------------------------------------------------------ taking

  /**
   * Put shots at the end of the queue.
   * @param {File[]} files
   * @returns {Part[]} those that were taken
   */
  take(files) {
    const pictures = files.filter(isPicture);
    const taken = pictures.slice(0, MOST - this.parts.length);
    const others = files.length - pictures.length;
    this.remark = [
      others && t("shots-others", { n: others }),
      pictures.length > taken.length && t("shots-most", { n: pictures.length - taken.length, most: MOST }),
    ]
      .filter(Boolean)
      .join(" ");
    /** @type {Part[]} */
    const parts = taken.map((file) => ({
      id: (this.ids += 1),
      name: file.webkitRelativePath || file.name,
      file,
      outcome: null,
      under: "",
      decision: "",
    }));
    this.parts.push(...parts);
    this.#reveal();
    this.acts.changed();
    return parts;
  }

  /**
   * Take shots, and inspect them at once where there is a reference.
   * @param {File[]} files
   */
  takeFolder(files) {
    const [first] = this.take(sorted(files));
    if (first && this.desk?.pictures[0] && !this.busy) this.start();
  }

  /**
   * Take one shot and look at it, once the one before is judged.
   * @param {File} file
   */
  takeNext(file) {
    const [part] = this.take([file]);
    if (!part) return;
    const { at } = this;
    const busy = this.arrived.length > 0 || (this.awaiting && at && !at.outcome);
    if (busy) this.arrived.push(part);
    else {
      this.look(part);
      this.awaiting = true;
    }
  }

  #reveal() {
    this.open = true;
    const whole = this.place.closest("details");
    if (whole) whole.open = true;
    this.show();
  }

  // ----------------------------------------------------------------------------- looking

  /** Return the part that was looked at last; its picture may still be read. */
  get at() {
    return this.coming ?? this.current;
  }

  /**
   * Look at a part: it is the one at hand once its picture is on the stage.
   * @param {Part} part
   */
  look(part) {
    this.coming = part;
    this.trouble = part.file ? "" : t("shots-gone", { name: part.name });
    this.shown = part.file && new File([part.file], part.name, { type: part.file.type });
    if (this.shown) this.owners.set(this.shown, part);
    this.acts.look(this.shown);
    this.show();
    this.acts.changed();
  }

  /**
   * Look at the next part that is listed, or at the one before.
   * @param {1 | -1} direction
   */
  step(direction) {
    const { listed } = this;
    const at = listed.findIndex(({ part }) => part === this.at);
    const next = listed[at < 0 ? (direction > 0 ? 0 : listed.length - 1) : at + direction];
    if (next) this.look(next.part);
    else if (this.parts.length) this.acts.hint(t(direction > 0 ? "shots-last" : "shots-first"));
  }

  /**
   * Take down what the one who looks says of the part at hand; the same once more takes it back.
   * @param {"OK" | "NG"} decision
   */
  decide(decision) {
    const { current } = this;
    if (!this.offered) return;
    if (!current) this.acts.hint(t("shots-undecided"));
    if (!current || this.coming) return; // it is about what is seen
    this.#hold(current);
    current.decision = current.decision === decision ? "" : decision;
    this.show();
    this.acts.changed();
  }

  /**
   * Take the outcome of a comparison as that of the part whose picture was compared, if it is one's.
   * @param {Blob | undefined} shot
   * @param {import("./parts.js").Outcome} outcome
   * @param {string} [under] key of what it was compared with and how
   */
  record(shot, outcome, under = this.under) {
    const part = shot && this.owners.get(shot);
    if (!part || !this.parts.includes(part)) return;
    this.#hold(part);
    Object.assign(part, { outcome, under });
    const next = part === this.at ? this.arrived.shift() : undefined;
    if (part === this.at) this.awaiting = next !== undefined;
    if (next) this.look(next);
    else this.show();
    this.acts.changed();
  }

  /**
   * Say what is on the stage: it may be no part of the queue.
   * @param {Blob | undefined} shot
   */
  staged(shot) {
    const gone = shot || this.shown ? null : this.coming; // its picture is not kept
    const part = (shot && this.owners.get(shot)) ?? gone;
    if (shot !== this.shown) this.shown = undefined; // what is still read is too late
    if (part === this.current && !this.coming) return;
    if (part !== this.current) this.held = null;
    Object.assign(this, { current: part, coming: null });
    this.show();
  }

  // ----------------------------------------------------------------------------- keeping

  /** @returns {import("./keep.js").Entries} */
  get entries() {
    const { parts, current, filter } = this;
    if (!parts.length) return {};
    const files = parts.map(({ id, file }) => [`part-${id}`, file]);
    return {
      queue: { filter, current: current?.id, running: this.running, parts: parts.map(({ file: _, ...part }) => part) },
      ...Object.fromEntries(files),
    };
  }

  /**
   * @param {import("./keep.js").Entries} entries
   * @param {Blob | undefined} shot that was on the stage
   */
  restore(entries, shot) {
    const queue = /** @type {any} */ (entries.queue);
    if (!queue) return;
    this.parts = queue.parts.map((/** @type {Part} */ part) => ({
      ...part,
      file: entries[`part-${part.id}`],
    }));
    this.ids = Math.max(...this.parts.map(({ id }) => id));
    this.filter = queue.filter;
    this.current = this.parts.find(({ id }) => id === queue.current) ?? null;
    if (this.current && shot) this.owners.set(shot, this.current);
    this.running = queue.running;
  }

  /** Go on with the job that was at work when the page was left. */
  async resume() {
    if (!this.running || this.busy) return;
    const { id, parts } = this.running;
    const sent = parts.map((each) => this.parts.find((part) => part.id === each));
    Object.assign(this, { busy: true, trouble: "" });
    this.job = { id, state: "", shots: parts.length, inspected: 0 };
    this.judged = sent;
    await this.#quietly(() => this.#followToTheEnd(sent));
    this.#end();
  }

  clear() {
    this.#stopWatching();
    this.camera.stop();
    Object.assign(this, { parts: [], arrived: [], current: null, coming: null, shown: undefined, held: null, running: null, filter: "all", job: null, trouble: "", remark: "" });
    this.show();
    this.acts.changed();
  }

  // ------------------------------------------------------------------------------ showing

  show() {
    redraw(this.place, () => this.#draw());
    redraw(this.bar, () => this.#drawBar());
  }

  #draw() {
    const focused = this.place.contains(document.activeElement) && document.activeElement?.id;
    const scrolled = this.place.querySelector(".verdicts")?.scrollTop ?? 0;
    const { parts, job } = this;
    replace(
      this.place,
      this.#sources(),
      this.watched && h("p", { class: "help", role: "status" }, t("shots-watching", { name: this.watched })),
      this.camera.stream && this.#camera(),
      parts.length > 0 && !this.desk?.pictures[0] && h("p", { class: "help" }, t("shots-reference")),
      this.remark && h("p", { class: "help" }, this.remark),
      parts.length > 0 && this.#start(),
      this.trouble && h("p", { class: "problem", role: "alert" }, this.trouble),
      job && this.#progress(),
      parts.length > 0 && [this.#filters(), this.#list(), this.#exports()],
      this.#keys(),
    );
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true }); // it was made anew
    const list = this.place.querySelector(".verdicts");
    if (list) list.scrollTop = scrolled;
  }

  #sources() {
    const chooser = (/** @type {string} */ id, /** @type {string} */ words, /** @type {object} */ props) => {
      const input = h("input", { type: "file", multiple: true, class: "quietly", id, ...props });
      input.addEventListener("change", () => {
        const files = [...(input.files ?? [])];
        input.value = "";
        if (id === "shots-folder") this.takeFolder(files);
        else this.take(files);
      });
      return h("label", { class: "button small" }, t(words), input);
    };
    const button = (/** @type {string} */ id, /** @type {string} */ words, /** @type {() => void} */ act) =>
      h("button", { ...SMALL, id, onclick: act }, t(words));
    return h(
      "div",
      { class: "row" },
      chooser("shots-files", "shots-choose", { accept: "image/*" }),
      chooser("shots-folder", "shots-folder", { webkitdirectory: true }),
      canWatch() &&
        (this.watching
          ? button("shots-watch", "shots-watch-stop", () => this.#stopWatching())
          : button("shots-watch", "shots-watch", () => this.#watch())),
      hasCamera() &&
        (this.camera.stream
          ? button("shots-camera", "shots-camera-stop", () => this.#stopCamera())
          : button("shots-camera", "shots-camera", () => this.#startCamera())),
    );
  }

  #start() {
    const { pending } = this;
    const stale = pending.some(({ outcome }) => outcome) && !this.busy;
    const ready = Boolean(this.desk?.pictures[0]) && !this.busy;
    const start = { type: "button", class: "primary small", id: "shots-start", disabled: !ready, onclick: () => this.start() };
    const words = pending.length ? t("shots-start", { n: pending.length }) : t("shots-again");
    const clear = confirmed("shots-clear", t("shots-clear"), () => this.clear());
    clear.disabled = this.busy;
    return [
      stale && h("p", { class: "help" }, t("shots-stale")),
      h("div", { class: "row spread" }, h("button", start, words), clear),
    ];
  }

  #progress() {
    const { job } = this;
    const ended = ENDED.has(job.state);
    const verdicts = this.judged.map((part) => part && (part.decision || verdictOf(part, this.rules).verdict));
    const bad = verdicts.filter((verdict) => verdict === "NG" || verdict === "ERROR").length;
    const progress = t(ended ? "shots-ended" : "shots-running", { done: job.inspected, all: job.shots, bad: t("shots-bad", { n: bad }) });
    const cancel = () => this.#quietly(() => this.#ask("POST", "/cancel"), false);
    return h(
      "div",
      {},
      h("progress", { class: "wide", max: job.shots, "aria-label": t("shots"), value: job.inspected }, progress),
      h("p", { role: "status", id: "shots-said" }, progress, job.error && ` ${job.error}`),
      !ended && h("button", { ...SMALL, id: "shots-cancel", onclick: cancel }, t("shots-cancel")),
    );
  }

  #filters() {
    const { rules } = this;
    const verdicts = this.parts.map((part) => part.decision || verdictOf(part, rules).verdict);
    const counted = (/** @type {string} */ verdict) => verdicts.filter((each) => each === verdict).length;
    /** @type {[string, string][]} */
    const options = [["all", `${t("shots-all")} ${number(this.parts.length)}`]];
    for (const verdict of ORDER) {
      const n = counted(verdict);
      const words = `${t(`verdict-${verdict || "none"}`)} ${number(n)}`;
      if (n || this.filter === verdict) options.push([verdict, words]);
    }
    const choice = segments(t("shots-filter"), options, this.filter, (value) => {
      Object.assign(this, { filter: value, held: null });
      this.show();
      const chosen = this.place.querySelector(".filters input:checked");
      if (chosen instanceof HTMLElement) chosen.focus();
      this.acts.changed();
    });
    choice.classList.add("filters");
    return choice;
  }

  #list() {
    const { under } = this;
    const entry = (/** @type {Shots["listed"][number]} */ { part, verdict, reason }) => {
      const shown = part.decision || verdict;
      const why = [reason, part.outcome && part.under !== under && t("shots-old")].filter(Boolean).join("; ");
      return h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            id: `shots-part-${part.id}`,
            class: `verdict ${shown.toLowerCase() || "none"}`,
            title: t("shots-look"),
            "aria-current": part === this.current ? "true" : null,
            onclick: () => {
              this.look(part);
              this.#bringBar();
            },
          },
          h("b", {}, t(`verdict-${shown || "none"}`)),
          h("span", { dir: "auto" }, part.name),
          (why || part.decision) &&
            h("small", {}, part.decision && t("shots-decided", { verdict: t(`verdict-${verdict || "none"}`) }), " ", why),
        ),
      );
    };
    return h("ol", { class: "verdicts" }, this.listed.map(entry));
  }

  /** Bring the bar and the stage below it to where they are seen, as on a phone, if they are not. */
  #bringBar() {
    const { top, bottom } = this.bar.getBoundingClientRect();
    if (bottom < 0 || top > innerHeight) this.bar.scrollIntoView({ block: "start" });
  }

  #exports() {
    return h(
      "div",
      { class: "row" },
      h("span", { class: "muted" }, t("save")),
      h("button", { ...SMALL, id: "shots-csv", onclick: () => this.#saveCsv() }, "CSV"),
      h("button", { ...SMALL, id: "shots-report", onclick: () => this.#saveReport() }, "HTML"),
    );
  }

  #keys() {
    const box = check(t("shots-keys"), keysOn(), switchKeys);
    box.classList.add("help");
    box.querySelector("input")?.setAttribute("id", "shots-keys");
    return box;
  }

  /** Show the part at hand above the stage, with what can be said of it. */
  #drawBar() {
    const { current, bar, parts } = this;
    if (!this.offered || !parts.length) {
      replace(bar);
      return;
    }
    const focused = bar.contains(document.activeElement) && document.activeElement?.id;
    const { listed } = this;
    const at = listed.findIndex(({ part }) => part === current);
    const go = (/** @type {string} */ id, /** @type {string} */ sign, /** @type {1 | -1} */ direction) => {
      const disabled = !listed[at < 0 && direction > 0 ? 0 : at + direction];
      const words = t(id);
      return h("button", { type: "button", id, disabled, title: words, "aria-label": words, onclick: () => this.step(direction) }, sign);
    };
    const decide = (/** @type {"OK" | "NG"} */ verdict, /** @type {string} */ key) =>
      h(
        "button",
        {
          type: "button",
          id: `decide-${verdict}`,
          class: `decide ${verdict.toLowerCase()}`,
          "aria-pressed": String(current?.decision === verdict),
          title: t("decide", { verdict: t(`verdict-${verdict}`), key }),
          onclick: () => this.decide(verdict),
        },
        t(`verdict-${verdict}`),
        h("kbd", { "aria-hidden": true }, key),
      );
    replace(
      bar,
      go("part-before", "‹", -1),
      h("span", { class: "muted" }, at < 0 ? `– / ${number(listed.length)}` : `${number(at + 1)} / ${number(listed.length)}`),
      go("part-next", "›", 1),
      h("span", { class: "file", dir: "auto", title: current?.name ?? "" }, current?.name ?? t("shots-none")),
      h("span", { class: "push" }),
      current && [h("span", { class: "muted asked" }, t("decision")), decide("OK", "O"), decide("NG", "X")],
    );
    if (focused) {
      const again = document.getElementById(focused);
      if (again instanceof HTMLButtonElement && !again.disabled) again.focus();
      else /** @type {HTMLElement | null} */ (bar.querySelector("button:not(:disabled)"))?.focus();
    }
  }

  // ---------------------------------------------------------------------------- exporting

  #saveCsv() {
    save(new Blob([asCsv(this.parts, this.rules)], { type: "text/csv" }), "shots.csv");
  }

  async #saveReport() {
    const { desk } = this;
    const reference = desk?.pictures[0];
    if (!desk || !reference) return;
    const page = await asPage(this.parts, this.rules, { reference, about: this.acts.about(desk), under: this.under, describe: (under) => comparisonWords(under, desk.form) });
    save(new Blob([page], { type: "text/html" }), "shots.html");
  }

  // ------------------------------------------------------------------- folder and camera

  async #watch() {
    let folder;
    try {
      folder = await /** @type {any} */ (window).showDirectoryPicker();
    } catch (error) {
      if (error instanceof DOMException) return; // none was chosen
      throw error;
    }
    const watching = (this.watching = new AbortController());
    this.watched = folder.name;
    this.trouble = "";
    this.#reveal();
    try {
      await watchFolder(folder, (file) => this.takeNext(file), watching.signal);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.trouble = t("shots-watch-lost", { name: folder.name });
    }
    if (this.watching === watching) this.#stopWatching();
  }

  #stopWatching() {
    this.watching?.abort();
    this.watching = null;
    this.watched = "";
    this.show();
  }

  async #startCamera() {
    this.trouble = "";
    try {
      await this.camera.start();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.camera.stop();
      this.trouble = t("shots-no-camera");
    }
    this.show();
    document.getElementById("shots-shoot")?.focus();
  }

  #stopCamera() {
    this.camera.stop();
    this.show();
  }

  #camera() {
    const shoot = { type: "button", class: "primary wide", id: "shots-shoot", onclick: async () => this.takeNext(await this.camera.shot()) };
    const { video } = this.camera;
    queueMicrotask(() => video.play().catch(() => {})); // it stops when it is placed anew
    return h("div", { class: "camera-place" }, video, h("button", shoot, t("shots-shoot")));
  }

  // ------------------------------------------------------------------------------ the job

  /** Inspect what is not inspected yet, or everything once more. */
  async start() {
    if (this.busy || !this.desk?.pictures[0] || !(await this.acts.signedIn())) return;
    const present = this.parts.filter(({ file }) => file);
    if (this.running) return this.resume(); // that one was left before it had ended
    const { pending } = this;
    const sent = pending.length ? pending : present;
    Object.assign(this, { busy: true, trouble: "", job: null, judged: sent });
    this.show();
    const { under } = this;
    await this.#quietly(async () => {
      const form = this.#form();
      form.append("open", "true");
      const answer = await this.#send(PATH, { method: "POST", body: form });
      this.job = await answer.json();
      for (const group of groups(sent)) {
        const more = new FormData();
        for (const { file, name } of group) more.append("shot", /** @type {Blob} */ (file), name);
        await this.#ask("POST", "/shots", more);
      }
      await this.#ask("POST", "/start");
      this.running = { id: this.job.id, parts: sent.map(({ id }) => id), under };
      this.acts.changed();
      await this.#followToTheEnd(sent);
    });
    this.#end();
  }

  /** @param {(Part | undefined)[]} sent */
  async #followToTheEnd(sent) {
    const { running } = this;
    let [taken, missed] = [0, 0];
    while (this.running === running) { // else the queue was emptied
      const wait = missed ? Math.min(1000 * 2 ** missed, LONGEST_MS) : POLL_MS + 2 * taken;
      await new Promise((resolve) => setTimeout(resolve, wait));
      try {
        taken = await this.#follow(sent, taken);
        if (missed) this.trouble = "";
        missed = 0;
        if (ENDED.has(this.job.state)) break;
      } catch (error) {
        if (!(error instanceof Failure) || !PASSING.includes(error.kind) || missed === MISSED) throw error;
        missed += 1;
        this.trouble = t("shots-waits", { why: error.message });
      }
      this.show();
    }
    this.running = null;
  }

  #end() {
    this.busy = false;
    this.show();
    this.acts.changed();
  }

  #form() {
    const desk = /** @type {Desk} */ (this.desk);
    const { values, pictures, region, regionField, rules, recipe } = desk;
    const form = new FormData();
    if (recipe && desk.byRecipe) {
      form.append("recipe", recipe.name);
      return form;
    }
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
    for (const [name, value] of Object.entries(plainLimits(rules))) {
      form.append(name, String(value));
    }
    return form;
  }

  /**
   * Ask for the job's progress, and take its results so far.
   * @param {(Part | undefined)[]} sent
   * @param {number} taken results that are known
   * @returns {Promise<number>} those that are known now
   */
  async #follow(sent, taken) {
    await this.#ask("GET", "");
    let known = ENDED.has(this.job.state) ? 0 : taken; // a gap is filled where several compute
    while (known < this.job.inspected) {
      const answer = await this.#send(`${PATH}/${this.job.id}/results?offset=${known}&limit=${PAGE}`);
      const { results } = await answer.json();
      if (!results.length) break;
      for (const row of results) {
        const part = sent[row.position];
        if (part) Object.assign(part, { outcome: outcomeOf(row, false), under: this.running?.under ?? "" });
      }
      known += results.length;
    }
    return known;
  }

  /**
   * @param {string} method
   * @param {string} path under the job's
   * @param {FormData} [body]
   */
  async #ask(method, path, body) {
    const answer = await this.#send(`${PATH}/${this.job.id}${path}`, { method, body });
    this.job = await answer.json();
  }

  /**
   * Ask the service; where the session has ended, ask for the password and go on.
   * @param {string} path
   * @param {RequestInit} [request]
   */
  async #send(path, request) {
    try {
      return await this.api.ask(path, request);
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "expired") throw error;
      if (!(await this.acts.signedIn(t("session-expired")))) throw new Failure("expired", t("error-expired"));
      return this.api.ask(path, request);
    }
  }

  /**
   * Do something, and say in the section what is wrong with it.
   * @param {() => Promise<void>} act
   * @param {boolean} [ends] whether the job is not watched any more then
   */
  async #quietly(act, ends = true) {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.trouble = error.message || t("error-offline-long");
      const passing = error.kind === "expired" || PASSING.includes(error.kind);
      if (ends && !passing) this.running = null; // else it is watched again by the same button
      this.show();
    }
  }
}

/**
 * Part shots into groups that one request may have.
 * @param {Part[]} parts
 * @returns {Part[][]}
 */
function groups(parts) {
  /** @type {Part[][]} */
  const parted = [];
  let bytes = 0;
  for (const part of parts) {
    const last = parted.at(-1);
    const size = part.file?.size ?? 0;
    if (!last || last.length >= GROUP_FILES || bytes + size > GROUP_BYTES) {
      parted.push([part]);
      bytes = 0;
    } else {
      last.push(part);
    }
    bytes += size;
  }
  return parted;
}
