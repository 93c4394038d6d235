/**
 * The queue of shots of the same part: its sources, their verdicts, one shot after the other.
 *
 * A folder is sent as a job and judged as its results arrive. A shot that is looked at is judged by
 * what the page has just computed of it.
 * @module
 */
import { OPERATION, SETTINGS } from "./comparison.js";
import { check, confirmed, section, segments } from "./controls.js";
import { SMALL, h, redraw, replace } from "./dom.js";
import { save } from "./files.js";
import { keysOn, switchKeys } from "./keys.js";
import { number, t } from "./i18n.js";
import { asCsv, asPage, verdictOf } from "./parts.js";
import { comparisonOf, comparisonWords } from "./recipes.js";
import { PASSING, PATH, Run } from "./run.js";
import { Camera, canWatch, hasCamera, isPicture, sorted, watchFolder } from "./sources.js";
import { plainLimits } from "./verdict.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./parts.js").Verdict} Verdict */
/** @typedef {import("./verdict.js").Rules} Rules */
/** @typedef {{folder: any, known: Map<string, import("./sources.js").Seen>}} Watched */

const MOST = 1000; // shots of a queue
const CAMERA_FILE = /^camera-(\d+)\.jpg$/;
const BACKLOG = 3; // shots that arrived and wait for their turn: more are inspected together
const NONE_RELEASED = { OK: 0, NG: 0, ERROR: 0 };
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
    /** @type {import("./run.js").Plan | null} what is being inspected, or was when the page was left */
    this.plan = null;
    /** @type {Run | null} the last one */
    this.run = null;
    this.open = false;
    /** @type {Desk | undefined} */
    this.desk = undefined;
    this.busy = false;
    this.cancelled = false;
    this.trouble = "";
    this.remark = "";
    /** @type {AbortController | null} of the folder that is watched */
    this.watching = null;
    /** @type {Watched | null} the folder that is watched, or was when the page was left */
    this.watched = null;
    this.camera = new Camera();
    this.taken = 0; // number of the last shot of the camera
    /** Shots that left the queue, by their verdicts. */
    this.released = NONE_RELEASED;
    this.above = h("div", { class: "shots-part" });
    this.cameraPlace = h("div", { class: "shots-part" }); // is not drawn anew: its picture would stop
    this.below = h("div", { class: "shots-part" });
    this.place = h("div", { class: "shots" }, this.above, this.cameraPlace, this.below);
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
    replace(this.cameraPlace); // drawn in the language of the page
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
    if (first && this.desk?.pictures[0]) this.#inspectMore();
  }

  /** Inspect what is pending: at once, or with what is being inspected. */
  #inspectMore() {
    const { plan, under } = this;
    if (!this.busy) return this.start();
    if (plan?.under !== under) return; // a button offers it afterwards
    plan.parts.push(...this.pending.map(({ id }) => id).filter((id) => !plan.parts.includes(id)));
  }

  /**
   * Take one shot and look at it, once the one before is judged.
   * @param {File} file
   */
  takeNext(file) {
    const broken = this.parts.find(({ name, outcome, decision }) => name === file.name && outcome?.error && !decision);
    if (broken) Object.assign(broken, { file, outcome: null }); // it was written once more
    if (!broken && this.parts.length >= MOST) this.#release();
    const [part] = broken ? [broken] : this.take([file]);
    if (!part) return;
    const { at } = this;
    const busy = this.arrived.length > 0 || (this.awaiting && at && !at.outcome);
    if (busy) {
      this.arrived.push(part);
      if (this.arrived.length >= BACKLOG) this.#inspectMore(); // faster than one by one
    } else {
      this.look(part);
      this.awaiting = true;
    }
  }

  /**
   * Let the oldest shot leave that is judged, OK before others: a folder or a camera goes on for
   * days. Those stay that are looked at, or wait for their verdict.
   */
  #release() {
    const { plan, rules } = this;
    const verdict = (/** @type {Part} */ part) => part.decision || verdictOf(part, rules).verdict;
    const staying = new Set([this.current, this.coming, ...this.arrived]);
    const working = new Set(this.run?.left);
    const judged = this.parts.filter((part) => part.outcome && !staying.has(part) && !working.has(part.id));
    const gone = judged.find((part) => verdict(part) === "OK") ?? judged[0];
    const said = gone && verdict(gone);
    if (!said) return;
    this.released = { ...this.released, [said]: this.released[said] + 1 };
    this.parts = this.parts.filter((part) => part !== gone);
    if (!plan) return;
    plan.parts = plan.parts.filter((id) => id !== gone.id);
    plan.done = plan.done.filter((id) => id !== gone.id);
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
    const together = new Set(this.busy ? this.plan?.parts : []); // those that a job inspects
    const waiting = this.arrived.filter(({ id, outcome: known }) => !known && !together.has(id));
    const next = part === this.at ? waiting.shift() : undefined;
    if (part === this.at) this.arrived = waiting;
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
    const { parts, current, filter, watched } = this;
    if (!parts.length) return watched ? { watched } : {};
    const files = parts.map(({ id, file }) => [`part-${id}`, file]);
    return {
      queue: { filter, current: current?.id, plan: this.plan, taken: this.taken, released: this.released, parts: parts.map(({ file: _, ...part }) => part) },
      ...(watched ? { watched } : {}),
      ...Object.fromEntries(files),
    };
  }

  /**
   * @param {import("./keep.js").Entries} entries
   * @param {Blob | undefined} shot that was on the stage
   */
  restore(entries, shot) {
    const queue = /** @type {any} */ (entries.queue);
    this.watched = /** @type {Watched | undefined} */ (entries.watched) ?? null;
    if (!queue) return;
    this.parts = queue.parts.map((/** @type {Part} */ part) => ({
      ...part,
      file: entries[`part-${part.id}`],
    }));
    this.ids = Math.max(...this.parts.map(({ id }) => id));
    this.filter = queue.filter;
    this.current = this.parts.find(({ id }) => id === queue.current) ?? null;
    if (this.current && shot) this.owners.set(shot, this.current);
    this.plan = queue.plan ?? null;
    this.taken = queue.taken ?? 0;
    this.released = queue.released ?? NONE_RELEASED;
  }

  /** Go on with what was being inspected when the page was left. */
  async resume() {
    const { watched, watching } = this;
    if (watched && !watching && (await watched.folder.queryPermission({ mode: "read" })) === "granted") this.#watch(watched);
    if (!this.plan || this.busy) return;
    const form = this.plan.under === this.under && this.desk?.pictures[0] ? this.#form() : null;
    await this.#inspect(this.plan, form);
  }

  clear() {
    this.run?.cancel();
    this.#stopWatching();
    this.camera.stop();
    Object.assign(this, { taken: 0, released: NONE_RELEASED, parts: [], arrived: [], current: null, coming: null, shown: undefined, held: null, plan: null, run: null, filter: "all", trouble: "", remark: "" });
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
    const { parts, run } = this;
    replace(
      this.above,
      this.#sources(),
      this.watching && h("p", { class: "help", role: "status" }, t("shots-watching", { name: this.watched?.folder.name })),
    );
    if (this.camera.stream && !this.cameraPlace.firstChild) replace(this.cameraPlace, ...this.#camera());
    if (!this.camera.stream) replace(this.cameraPlace);
    replace(
      this.below,
      parts.length > 0 && !this.desk?.pictures[0] && h("p", { class: "help" }, t("shots-reference")),
      this.remark && h("p", { class: "help" }, this.remark),
      this.#left(),
      parts.length > 0 && this.#start(),
      this.trouble && h("p", { class: "problem", role: "alert" }, this.trouble),
      run && this.#progress(run),
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
          : button("shots-watch", "shots-watch", () => this.#chooseFolder())),
      this.watched &&
        !this.watching &&
        h("button", { ...SMALL, id: "shots-watch-again", onclick: () => this.#watchAgain() }, t("shots-watch-again", { name: this.watched.folder.name })),
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

  /** Say how many shots left the queue. */
  #left() {
    const { OK: ok, NG: ng, ERROR: error } = this.released;
    const n = ok + ng + error;
    return n > 0 && h("p", { class: "help", id: "shots-released" }, t("shots-released", { n, ok, ng, error, most: MOST }));
  }

  /** @param {Run} run */
  #progress({ plan, over, error }) {
    const judged = plan.done.flatMap((id) => this.#part(id) ?? []);
    const verdicts = judged.map((part) => part.decision || verdictOf(part, this.rules).verdict);
    const bad = verdicts.filter((verdict) => verdict === "NG" || verdict === "ERROR").length;
    const [done, all] = [plan.done.length, plan.parts.length];
    const progress = t(over ? "shots-ended" : "shots-running", { done, all, bad: t("shots-bad", { n: bad }) });
    return h(
      "div",
      {},
      h("progress", { class: "wide", max: all, "aria-label": t("shots"), value: done }, progress),
      h("p", { role: "status", id: "shots-said" }, progress, error && ` ${error}`),
      !over && h("button", { ...SMALL, id: "shots-cancel", onclick: () => this.#cancel() }, t("shots-cancel")),
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

  async #chooseFolder() {
    try {
      const folder = await /** @type {any} */ (window).showDirectoryPicker();
      await this.#watch({ folder, known: new Map() });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // none was chosen
    }
  }

  /** Go on with the folder that was watched when the page was left, if the user lets it. */
  async #watchAgain() {
    const { watched } = this;
    if ((await watched?.folder.requestPermission({ mode: "read" })) === "granted") await this.#watch(watched);
  }

  /** @param {Watched | null} watched */
  async #watch(watched) {
    if (!watched) return;
    const { folder, known } = watched;
    const watching = (this.watching = new AbortController());
    this.watched = watched;
    this.trouble = "";
    this.#reveal();
    const give = (/** @type {File} */ file) => {
      this.takeNext(file);
      this.acts.changed();
    };
    try {
      await watchFolder(folder, give, watching.signal, known);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.trouble = t("shots-watch-lost", { name: folder.name });
    }
    if (this.watching !== watching) return;
    this.watching = null; // it may be watched again
    this.show();
  }

  #stopWatching() {
    this.watching?.abort();
    this.watching = this.watched = null;
    this.show();
    this.acts.changed();
  }

  async #startCamera() {
    const { camera } = this;
    this.trouble = "";
    try {
      await camera.start(() => {
        this.#stopCamera();
        this.trouble = t("shots-camera-lost");
        this.show();
      });
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      camera.stop();
      this.trouble = t("shots-no-camera");
    }
    const name = camera.all.find(({ id }) => id === camera.id)?.name ?? "";
    if (camera.isOther) this.trouble = t("shots-camera-other", { name });
    this.show();
    document.getElementById("shots-shoot")?.focus();
  }

  #stopCamera() {
    this.camera.stop();
    this.show();
  }

  #camera() {
    const shoot = { type: "button", class: "primary wide", id: "shots-shoot", onclick: () => this.#shoot() };
    const { video } = this.camera;
    queueMicrotask(() => video.play().catch(() => {})); // it stops when it is placed anew
    return [this.#cameras(), video, h("button", shoot, t("shots-shoot"))];
  }

  /** Return a choice among cameras, or nothing where there is one. */
  #cameras() {
    const { camera } = this;
    if (camera.all.length < 2) return null;
    const options = camera.all.map(({ id, name }, at) =>
      h("option", { value: id, selected: id === camera.id }, name || t("shots-camera-nth", { n: number(at + 1) })),
    );
    const choice = h("select", { id: "shots-which" }, options);
    choice.addEventListener("change", async () => {
      camera.choose(choice.value);
      this.#stopCamera();
      await this.#startCamera();
      document.getElementById("shots-which")?.focus();
    });
    return h("label", { class: "row" }, t("shots-which"), choice);
  }

  async #shoot() {
    const taken = this.parts.map(({ name }) => Number(CAMERA_FILE.exec(name)?.[1] ?? 0));
    const number = (this.taken = Math.max(this.taken, ...taken) + 1); // goes on after a reload
    this.takeNext(await this.camera.shot(`camera-${String(number).padStart(3, "0")}.jpg`));
  }

  // ------------------------------------------------------------------------------ the job

  /** Inspect what is not inspected yet, or everything once more. */
  async start() {
    if (this.busy || !this.desk?.pictures[0] || !(await this.acts.signedIn())) return;
    if (this.plan) return this.resume(); // that was left before it had ended
    const { pending, under } = this;
    const present = this.parts.filter(({ file }) => file);
    const parts = (pending.length ? pending : present).map(({ id }) => id);
    await this.#inspect({ under, parts, done: [], jobs: [] }, this.#form());
  }

  /**
   * @param {import("./run.js").Plan} plan
   * @param {import("./run.js").Entry[] | null} form
   */
  async #inspect(plan, form) {
    const acts = {
      signedIn: this.acts.signedIn,
      part: (/** @type {number} */ id) => this.#part(id),
      changed: () => {
        this.trouble = run.trouble;
        this.show();
        this.acts.changed();
      },
    };
    const run = new Run(this.api, acts, plan, form);
    Object.assign(this, { busy: true, trouble: "", plan, run, cancelled: false });
    this.show();
    const failure = await run.go();
    if (this.run !== run) return; // the queue was emptied
    this.busy = false;
    const waits = failure && (failure.kind === "expired" || PASSING.includes(failure.kind));
    if (!waits) this.plan = null; // else the same button goes on with it
    const { length: n } = run.left;
    const why = failure ? failure.message || t("error-offline-long") : "";
    this.trouble = n && !this.cancelled ? t("shots-left", { n, why }) : why;
    this.show();
    this.acts.changed();
  }

  async #cancel() {
    this.cancelled = true;
    await this.run?.cancel();
  }

  /** @param {number} id */
  #part(id) {
    return this.parts.find((part) => part.id === id);
  }

  /** @returns {import("./run.js").Entry[]} a job without its shots */
  #form() {
    const desk = /** @type {Desk} */ (this.desk);
    const { values, pictures, region, regionField, rules, recipe } = desk;
    if (recipe && desk.byRecipe) return [["recipe", recipe.name]];
    /** @type {import("./run.js").Entry[]} */
    const form = [];
    const [reference] = pictures;
    if (reference) form.push(["reference", reference.blob, reference.name]);
    if (region?.picture && regionField) {
      form.push(["region", region.picture.blob, region.picture.name]);
    }
    if (values.preset !== undefined) form.push(["preset", String(values.preset)]);
    for (const name of SETTINGS) {
      const value = values.fic_settings?.[name];
      if (value !== undefined) form.push([name, String(value)]);
    }
    for (const [name, value] of Object.entries(plainLimits(rules))) {
      form.push([name, String(value)]);
    }
    return form;
  }
}
