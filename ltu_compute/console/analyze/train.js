/**
 * Data sets and models of the account's own: label pictures, train, watch, try.
 *
 * All requests are Techsolut's and need an API key, which is kept in memory only.
 * @module
 */
import { Failure } from "./api.js";
import { BoxEditor } from "./boxes.js";
import { meter, segments } from "./controls.js";
import { SMALL, byId, debounced, h, redraw, replace, svg } from "./dom.js";
import { isUnfit } from "./file-kinds.js";
import { number, percent, t } from "./i18n.js";
import { pictureOf, release } from "./pictures.js";
import { Pane } from "./stage.js";
import { Strip } from "./strip.js";
import { Techsolut } from "./techsolut.js";
import { className, keyStep, metricsOf, setStep } from "./train-steps.js";

/** @typedef {import("./boxes.js").Box} Box */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {"detection" | "classification"} Kind */
/** @typedef {{id: string, name: string, type: Kind, classes: string[]}} DataSet */
/**
 * @typedef {object} Shot
 * @property {string} id of the service; empty: not stored, only to try
 * @property {string} name
 * @property {Box[] | null} boxes null: nobody has looked
 * @property {string | null} label
 * @property {Picture | null} picture null: not loaded yet
 * @property {Promise<Picture>} [loading] what the stage and the strip both wait for
 * @property {boolean} changed since it was stored
 */

const NAME = "train"; // in the address of the page
const PATH = "/datasets"; // of Techsolut's interface
const LATEST = 100; // tasks in which a running training is looked for
const MOST = 1000; // pictures of a data set that are listed
const SAVE_MS = 700; // without a change, until it is stored
const POLL_MS = 800;
const LEAST = { detection: 10, classification: 3 }; // boxes, or pictures, of each class
const BETTER = { detection: 50, classification: 20 };
const COLORS = ["#ffd60a", "#4cc9f0", "#ff7ab6", "#80ed99", "#ffa94d", "#c8b6ff"];
/** @type {Set<import("./api.js").Kind>} what is wrong with one file, and not with the next */
const OF_FILES = new Set(/** @type {const} */ (["refused", "format", "too-large"]));
const SKIPPED = 20; // names of files of an archive that are listed
const TYPES = "image/jpeg,image/png,image/gif"; // of a picture to try

export class Training {
  /** @param {Record<string, any>} paths of the service */
  constructor(paths) {
    this.name = NAME;
    this.names = paths[`/v1${PATH}`]?.post ? [NAME] : [];
    this.place = byId("train");
    this.service = new Techsolut();
    /** @type {DataSet[]} */
    this.sets = [];
    /** @type {DataSet | null} */
    this.set = null;
    /** @type {Shot[]} */
    this.shots = [];
    this.at = -1;
    /** @type {string[]} */
    this.classes = [];
    this.next = ""; // class of the next box
    this.renaming = ""; // class that is getting another name
    // Texts that are not sent yet; they stay when the panel is made anew:
    this.renamed = "";
    this.typed = ""; // of a new class
    /** @type {import("./train-steps.js").Draft} */
    this.draft = { open: false, name: "", kind: "detection" };
    /** @type {"draw" | "move"} */
    this.tool = "draw";
    /** @type {any} of the data set, as listed; null: none was made */
    this.model = null;
    /** @type {any} the last known state of the training */
    this.task = null;
    /** @type {any[] | null} what the model has found in the picture */
    this.tried = null;
    /** @type {Shot | null} a picture of no data set, to try the model on */
    this.loose = null;
    this.busy = 0;
    this.shown = false;
    this.saveSoon = debounced(() => this.save(), SAVE_MS);

    this.pane = new Pane("");
    this.editor = new BoxEditor(this.pane, {
      changed: () => this.#changed(),
      class: () => this.next,
      color: (name) => this.#color(name),
    });
    this.notice = h("div", { class: "notice", role: "alert" });
    this.bar = h("div", { class: "train-bar" });
    this.labels = h("div", { class: "train-bar" });
    this.strip = new Strip({
      add: (files) => this.add(files),
      look: (at) => this.#look(at),
      load: (shot) => this.#load(shot),
    });
    this.stage = h("div", { class: "train-stage" });
    this.side = h("div", { class: "train-side" });
    this.ways = h("section", { class: "train-step" }); // shown again while a training runs
    replace(this.place, this.stage, this.side);
    this.#listen();
  }

  /** @param {string} name of a view */
  offers(name) {
    return this.names.includes(name);
  }

  /** @param {boolean} yes */
  show(yes) {
    if (this.shown && !yes) this.save();
    this.shown = yes;
    this.place.hidden = !yes;
  }

  /** Write everything anew, in the language that counts now. */
  render() {
    this.pane.viewport.setAttribute("aria-label", t("train-picture"));
    this.pane.translate();
    this.#side();
    this.#stage();
  }

  // ------------------------------------------------------------------------------- requests

  /**
   * Ask the service; what is wrong is said above the picture.
   * @param {() => Promise<void>} act
   * @returns {Promise<boolean>} whether it worked
   */
  async #quietly(act) {
    this.busy += 1;
    this.place.setAttribute("aria-busy", "true");
    try {
      await act();
      replace(this.notice);
      return true;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      replace(this.notice, h("p", {}, error.message || t("error-offline-long")));
      if (error.kind === "expired") this.render();
      return false;
    } finally {
      this.busy -= 1;
      if (!this.busy) this.place.removeAttribute("aria-busy");
    }
  }

  // -------------------------------------------------------------------------------- the key

  /** @param {string} key */
  async #open(key) {
    this.service.key.access = key;
    const opened = await this.#quietly(async () => {
      this.sets = await this.service.all(`${PATH}?`, "datasets", MOST);
    });
    if (!opened) this.service.key.forget();
    if (opened && this.sets.length) await this.#choose(this.sets[0]);
    else this.render();
  }

  #close() {
    this.save();
    this.service.key.forget();
    Object.assign(this, { sets: [], model: null, task: null });
    this.#use(null);
    this.render();
    byId("train-key").focus();
  }

  // ---------------------------------------------------------------------------- data sets

  /** @param {DataSet | null} set */
  #use(set) {
    for (const shot of this.shots) release(shot.picture ?? undefined);
    this.editor.detach();
    Object.assign(this, { set, shots: [], at: -1, tried: null, loose: null });
    this.classes = [...(set?.classes ?? [])];
    this.next = this.classes[0] ?? "";
    this.renaming = this.typed = "";
  }

  /** @param {DataSet} set */
  async #choose(set) {
    await this.save();
    this.#use(set);
    await this.#quietly(async () => {
      const listed = await this.service.all(`${PATH}/${set.id}/images?`, "images", MOST);
      const models = await this.service.all("/models?custom_only=true&", "models", MOST);
      if (this.set !== set) return; // another one was chosen meanwhile
      this.model = models.find(({ name, type }) => name === set.name && type === set.type) ?? null;
      this.task = this.model?.status === "training" ? await this.#running() : null;
      this.shots = listed.map((image) => ({
        id: image.id,
        name: image.filename,
        boxes: image.annotations?.map(boxOf) ?? null,
        label: image.label ?? null,
        picture: null,
        changed: false,
      }));
    });
    this.render();
    if (this.task) this.#follow(this.task.task_id);
    if (this.shots.length) await this.#look(0);
  }

  /** Return the training that was begun before the page was opened, if it is the only one. */
  async #running() {
    const { tasks } = await this.service.ask("GET", `/tasks?limit=${LATEST}`);
    const trainings = tasks.filter(
      (/** @type {any} */ { type, status }) => type === "training" && status === "processing",
    );
    return trainings.length === 1 ? trainings[0] : null;
  }

  /**
   * @param {string} name
   * @param {Kind} type
   */
  async #create(name, type) {
    await this.#quietly(async () => {
      const set = await this.service.ask("POST", PATH, { name, type });
      this.draft = { open: false, name: "", kind: "detection" };
      this.sets.unshift(set);
      await this.#choose(set);
      this.#newClass().focus();
    });
  }

  async #delete() {
    const { set } = this;
    if (!set || !confirm(t("train-delete-set-sure", { name: set.name }))) return;
    await this.#quietly(async () => {
      await this.service.ask("DELETE", `${PATH}/${set.id}`);
      this.sets = this.sets.filter((each) => each !== set);
      this.#use(null);
    });
    if (this.sets.length) await this.#choose(this.sets[0]);
    else this.render();
  }

  // ------------------------------------------------------------------------------ pictures

  /**
   * Add pictures to the data set.
   * @param {File[]} files
   */
  async add(files) {
    const { set } = this;
    if (!set || !files.length) return;
    const first = this.shots.length;
    /** @type {string[]} */
    const refused = [];
    /** @type {File[]} */
    const archives = [];
    const alive = await this.#quietly(async () => {
      for (const [index, file] of files.entries()) {
        if (isArchive(file)) {
          archives.push(file);
          continue;
        }
        const progress = t("train-adding", { n: index + 1, m: files.length });
        this.strip.said.textContent = progress;
        try {
          await this.#addFile(set, file);
        } catch (error) {
          // A file that is refused does not keep the others out.
          if (!(error instanceof Failure) || !OF_FILES.has(error.kind)) throw error;
          refused.push(t("named", { name: file.name, value: error.message }));
        }
        if (this.set !== set) return;
      }
    });
    this.strip.said.textContent = "";
    if (this.set !== set) return;
    this.#strip();
    this.#side();
    this.#said();
    if (alive && this.shots.length > first) await this.#look(first);
    if (alive && archives.length) refused.push(...(await this.#addArchives(set, archives)));
    if (refused.length) replace(this.notice, refused.map((line) => h("p", {}, line)));
  }

  /**
   * Add archives of pictures with their labels or boxes, and show the data set anew.
   * @param {DataSet} set
   * @param {File[]} files
   * @returns {Promise<string[]>} what became of each, in words
   */
  async #addArchives(set, files) {
    /** @type {string[]} */
    const lines = [];
    await this.save();
    await this.#quietly(async () => {
      for (const [index, file] of files.entries()) {
        this.strip.said.textContent = t("train-adding", { n: index + 1, m: files.length });
        try {
          const reply = await this.service.send(`${PATH}/${set.id}/images`, file, file.name);
          set.classes = reply.dataset.classes;
          lines.push(t("named", { name: file.name, value: t("train-archive", { n: reply.added }) }));
          const left = reply.skipped.slice(0, SKIPPED).join(", ");
          if (left) lines.push(t("train-skipped", { names: left, n: reply.skipped.length }));
        } catch (error) {
          if (!(error instanceof Failure) || !OF_FILES.has(error.kind)) throw error;
          lines.push(t("named", { name: file.name, value: error.message }));
        }
      }
    });
    this.strip.said.textContent = "";
    if (this.set === set) await this.#choose(set);
    return lines;
  }

  /**
   * @param {DataSet} set
   * @param {File} file
   */
  async #addFile(set, file) {
    const picture = await pictureOf(file, file.name);
    if (isUnfit(picture.unreadable)) {
      release(picture);
      throw new Failure("format", t(`file-${picture.unreadable}`));
    }
    const { images } = await this.service.send(`${PATH}/${set.id}/images`, file, file.name);
    const { id, filename: name } = images[0];
    if (this.set !== set || this.shots.some((shot) => shot.id === id)) {
      release(picture); // the same picture again keeps what it has
      return;
    }
    this.shots.push({ id, name, boxes: null, label: null, picture, changed: false });
  }

  /** @param {Shot} shot */
  async #load(shot) {
    const { set } = this;
    if (!shot.picture && set) {
      shot.loading ??= this.service
        .file(`${PATH}/${set.id}/images/${shot.id}`)
        .then((file) => pictureOf(file, shot.name))
        .finally(() => (shot.loading = undefined));
      shot.picture = await shot.loading;
    }
    return /** @type {Picture} */ (shot.picture);
  }

  /** @param {number} at which picture */
  async #look(at) {
    const shot = this.shots[at];
    if (!shot) return;
    this.editor.detach(); // nothing is drawn until the picture is there
    Object.assign(this, { at, tried: null, loose: null });
    this.#bars();
    await this.#quietly(async () => {
      const picture = await this.#load(shot);
      if (this.shot === shot) this.pane.show(picture);
    });
    if (this.shot !== shot) return; // another one was chosen meanwhile
    this.#stage();
    this.#training(); // it offers to try the model on the picture
    this.strip.reveal();
    await this.save();
  }

  get shot() {
    return this.loose ?? this.shots[this.at];
  }

  /** Take what is drawn now as what is in the picture, and store it soon. */
  #changed() {
    const { shot } = this;
    if (!shot) return;
    shot.boxes = this.editor.boxes;
    shot.changed = true;
    this.tried = null;
    this.saveSoon();
    this.#bars();
    this.#strip();
    this.#side();
  }

  /** @param {string} label */
  #label(label) {
    const { shot } = this;
    if (!shot) return;
    Object.assign(shot, { label, changed: true });
    this.saveSoon();
    this.#stage();
    this.#side();
    // The next picture without a label, if there is one, is looked at next.
    const following = this.shots.findIndex((each, index) => index > this.at && !each.label);
    if (following >= 0) this.#look(following);
  }

  /** Store what was changed. */
  async save() {
    this.saveSoon.cancel();
    const { set } = this;
    if (!set) return;
    for (const shot of this.shots.filter(({ changed }) => changed)) {
      shot.changed = false;
      const stored = await this.#quietly(async () => {
        const { blob } = await this.#load(shot);
        /** @type {Record<string, string>} */
        const said =
          set.type === "detection"
            ? { annotations: JSON.stringify(sentBoxes(shot)) }
            : { label: shot.label ?? "" };
        await this.service.send(`${PATH}/${set.id}/images`, blob, shot.name, said);
      });
      if (!stored) {
        shot.changed = true; // the next change tries again
        return;
      }
    }
    this.#said();
  }

  async #forgetPicture() {
    const { set, shot, at } = this;
    if (!set || !shot) return;
    await this.#quietly(async () => {
      await this.service.ask("DELETE", `${PATH}/${set.id}/images/${shot.id}`);
      release(shot.picture ?? undefined);
      this.shots.splice(at, 1);
      this.at = -1;
      this.editor.detach();
    });
    this.render();
    if (this.shots.length) await this.#look(Math.min(at, this.shots.length - 1));
  }

  // ------------------------------------------------------------------------------ training

  async #train() {
    const { set } = this;
    if (!set) return;
    await this.save();
    const begun = await this.#quietly(async () => {
      const { name, type } = set;
      this.model ??= await this.service.ask("POST", "/models", { name, type });
      const path = `/models/${this.model.id}/train`;
      this.task = await this.service.ask("POST", path, { dataset_id: set.id });
    });
    this.#side();
    if (begun) await this.#follow(this.task.task_id);
  }

  /** @param {string} id of the task */
  async #follow(id) {
    while (this.task?.task_id === id && this.task.status === "processing") {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (this.task?.task_id !== id) return;
      try {
        const task = await this.service.ask("GET", `/tasks/${id}`);
        if (this.task?.task_id !== id) return; // another data set was chosen meanwhile
        this.task = task;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.kind === "expired" || error.kind === "refused") return; // others may pass
      }
      this.#training();
    }
    await this.#quietly(async () => {
      this.model = await this.service.ask("GET", `/models/${this.model.id}`);
    });
    this.#training();
    this.#bars();
  }

  async #cancel() {
    const { task } = this;
    await this.#quietly(async () => {
      await this.service.ask("DELETE", `/tasks/${task.task_id}`);
      this.task = null;
    });
    this.#training();
  }

  get ready() {
    return Boolean(this.model && this.model.version !== "0.0.0");
  }

  /** Let the model answer for the picture that is shown. */
  async #try() {
    const { shot, set, model } = this;
    if (!shot || !set || !this.ready) return;
    await this.save();
    await this.#quietly(async () => {
      const { blob } = await this.#load(shot);
      const path = set.type === "detection" ? "/detect" : "/classify";
      const reply = await this.service.send(path, blob, shot.name, { model: model.id });
      if (this.shot === shot) this.tried = reply.detections ?? reply.classifications;
    });
    this.#stage();
  }

  /**
   * Try the model on a picture that is in no data set.
   * @param {File} file
   */
  async #tryFile(file) {
    await this.save();
    const picture = await pictureOf(file, file.name);
    if (isUnfit(picture.unreadable)) {
      release(picture);
      const message = t("named", { name: file.name, value: t(`file-${picture.unreadable}`) });
      replace(this.notice, h("p", {}, message));
      return;
    }
    release(this.loose?.picture ?? undefined);
    this.loose = { id: "", name: file.name, boxes: null, label: null, picture, changed: false };
    this.editor.detach();
    this.pane.show(picture);
    await this.#try();
  }

  // ------------------------------------------------------------------------- what is shown

  #side() {
    redraw(this.side, () => this.#drawSide());
  }

  #drawSide() {
    const focused = document.activeElement?.id;
    const within = this.side.contains(document.activeElement);
    replace(
      this.side,
      keyStep(this.service.key.open, {
        open: (key) => this.#open(key),
        close: () => this.#close(),
      }),
      this.service.key.open &&
        setStep(this.sets, this.set, {
          choose: (set) => this.#choose(set),
          create: (name, type) => this.#create(name, type),
          remove: () => this.#delete(),
        }, this.draft),
      this.set && this.#classStep(),
      this.set && this.ways,
    );
    if (this.set) this.#training();
    if (within && focused) document.getElementById(focused)?.focus(); // it was made anew
  }

  /** Say how much there is of each class, and how much is needed. */
  #classStep() {
    const set = /** @type {DataSet} */ (this.set);
    const [least, better] = [LEAST[set.type], BETTER[set.type]];
    const row = (/** @type {string} */ name, /** @type {number} */ index) => {
      const count = this.#count(name);
      const mood = count < least ? "bad" : count < better ? "fair" : "good";
      return h(
        "li",
        {},
        className(name, this.#color(name), {
          id: `train-rename-${index}`,
          renaming: this.renaming === name,
          typed: this.renamed,
          type: (typed) => (this.renamed = typed),
          begin: (yes) => this.#beginRenaming(yes ? name : "", `train-rename-${index}`),
          rename: (given) => this.#rename(name, given, `train-rename-${index}`),
        }),
        h("b", { class: mood }, number(count)),
        meter(count / better),
      );
    };
    return h(
      "section",
      { class: "train-step" },
      h("h2", {}, t("train-classes")),
      h("p", { class: "help" }, t(`train-needs-${set.type}`, { least, better })),
      h("ul", { class: "train-counts" }, this.classes.map(row)),
      h("p", { class: "muted", id: "train-said", role: "status" }),
    );
  }

  /**
   * @param {string} name of a class that gets another name; empty: none does
   * @param {string} id of what begins it
   */
  #beginRenaming(name, id) {
    this.renaming = this.renamed = name;
    this.#side();
    document.getElementById(name ? "train-new-name" : id)?.focus();
  }

  /**
   * Give a class another name, here and in the service.
   * @param {string} name
   * @param {string} given
   * @param {string} id of what began it
   */
  async #rename(name, given, id) {
    const { set } = this;
    if (!set || !given || given === name) return this.#beginRenaming("", id);
    const merge = this.classes.includes(given);
    if (merge && !confirm(t("train-merge-sure", { name, other: given }))) return;
    await this.save();
    const done = await this.#quietly(async () => {
      if (!set.classes.includes(name) && !this.#count(name)) return; // the service does not know it
      const path = `${PATH}/${set.id}`;
      const changed = await this.service.ask("PATCH", path, { rename: { [name]: given }, merge });
      set.classes = changed.classes;
    });
    if (!done || this.set !== set) return;
    const other = (/** @type {string} */ each) => (each === name ? given : each);
    this.classes = [...new Set(this.classes.map(other))];
    this.next = other(this.next);
    for (const shot of this.shots) {
      shot.boxes = shot.boxes?.map((box) => ({ ...box, class: other(box.class) })) ?? null;
      if (shot.label) shot.label = other(shot.label);
    }
    this.#stage();
    this.#beginRenaming("", id);
    this.#said();
  }

  /** @param {string} name of a class */
  #count(name) {
    return this.shots.reduce((sum, { boxes, label }) => {
      if (this.set?.type === "classification") return sum + Number(label === name);
      return sum + (boxes ?? []).filter((box) => box.class === name).length;
    }, 0);
  }

  /** Say whether all is stored. */
  #said() {
    const said = document.getElementById("train-said");
    const open = this.shots.some(({ changed }) => changed);
    if (said) said.textContent = open ? t("train-saving") : t("train-saved");
  }

  #training() {
    redraw(this.ways, () => this.#drawTraining());
  }

  #drawTraining() {
    const { task, model, set } = this;
    if (!set) return;
    const running = task?.status === "processing";
    const enough = this.classes.some((name) => this.#count(name) >= LEAST[set.type]);
    const start = { type: "button", class: "primary wide", id: "train-start", disabled: running || !enough, onclick: () => this.#train() };
    const cancel = { ...SMALL, id: "train-cancel", onclick: () => this.#cancel() };
    const share = task?.progress ?? 0;
    const focused = this.ways.contains(document.activeElement) && document.activeElement?.id;
    replace(
      this.ways,
      h("h2", {}, t("train-model")),
      h("button", start, t(this.ready ? "train-again" : "train-start")),
      running &&
        h(
          "div",
          { class: "row" },
          h("progress", { class: "push", max: 1, value: share, "aria-label": t("train-progress") }),
          h("span", {}, percent(share, 0)),
          h("button", cancel, t("shots-cancel")),
        ),
      h("p", { role: "status", id: "train-task" }, this.#words()),
      task?.status === "failed" && h("p", { class: "problem" }, task.error.details),
      this.ready && !running && metricsOf(model.metrics),
      this.ready && this.#offer(),
    );
    if (focused) document.getElementById(focused)?.focus(); // it was made anew
  }

  #words() {
    const { task } = this;
    if (!task) return "";
    if (task.status === "processing") return t(task.started_at ? "train-running" : "train-waiting");
    return t(`train-${task.status}`);
  }

  #offer() {
    const file = h("input", { type: "file", accept: TYPES, class: "quietly", id: "train-other" });
    file.addEventListener("change", () => file.files?.[0] && this.#tryFile(file.files[0]));
    const here = { type: "button", id: "train-try", disabled: !this.shot, onclick: () => this.#try() };
    return h(
      "div",
      { class: "row train-try" },
      h("button", here, t("train-try")),
      h("label", { class: "button" }, t("train-try-other"), file),
    );
  }

  #stage() {
    const { set, shot } = this;
    this.editor.draw(false);
    if (!set) {
      const steps = [1, 2, 3, 4].map((step) => h("li", {}, t(`train-step-${step}`)));
      const lead = h("p", { class: "lead" }, t("train-about"));
      replace(this.stage, this.notice, h("div", { class: "train-intro" }, lead, h("ol", {}, steps)));
      return;
    }
    this.#strip();
    const nothing = h("div", { class: "empty" }, h("p", { class: "lead" }, t("train-drop")), this.strip.adder("primary"));
    const shown = shot?.picture ? this.pane.element : nothing;
    if (this.stage.contains(this.pane.element) && shown === this.pane.element) this.#bars();
    else replace(this.stage, this.notice, this.bar, this.labels, shown, this.strip.element);
    this.#bars();
    if (!shot?.picture) return;
    const tried = this.tried;
    if (set.type === "detection" && !tried && !this.loose) {
      shot.boxes ??= null;
      this.editor.attach(shot.boxes ?? []);
      this.editor.draw(this.tool === "draw");
    } else {
      this.editor.detach();
    }
    this.pane.clear();
    if (tried && set.type === "detection") this.#drawn(tried);
  }

  /**
   * Draw what the model has found.
   * @param {any[]} found
   */
  #drawn(found) {
    const drawing = this.pane.draw();
    drawing.setAttribute("class", "layer marks");
    for (const { box, class: name, confidence } of found) {
      const place = { x: box.x1, y: box.y1, width: box.x2 - box.x1, height: box.y2 - box.y1 };
      drawing.append(
        svg("g", { class: "mark" }, svg("rect", { ...place, class: "halo" }), svg("rect", { ...place, class: "line" })),
      );
      const tag = h("span", { class: "tag", style: { left: `${box.x1}px`, top: `${box.y1}px` } });
      tag.textContent = `${name} ${percent(confidence, 0)}`;
      this.pane.lay(tag);
    }
  }

  /** Write what is above the picture. */
  #bars() {
    const { set, shot, at, shots, tried } = this;
    if (!set) return;
    const focused = document.activeElement?.id;
    const within = this.bar.contains(document.activeElement) || this.labels.contains(document.activeElement);
    const step = (/** @type {number} */ by, /** @type {string} */ id, /** @type {string} */ sign) => {
      const disabled = !shots[at + by];
      const name = t(id);
      return h("button", { ...SMALL, id, disabled, "aria-label": name, title: name, onclick: () => this.#look(at + by) }, sign);
    };
    const boxes = set.type === "detection" && shot?.picture && !tried && !this.loose;
    const act = (/** @type {string} */ id, /** @type {() => void} */ onclick, disabled = false) =>
      h("button", { ...SMALL, id, disabled, onclick }, t(id));
    const tools = boxes && [
      segments(
        t("train-tool"),
        [
          ["draw", t("train-draw")],
          ["move", t("train-move")],
        ],
        this.tool,
        (value) => {
          this.tool = value === "move" ? "move" : "draw";
          this.editor.draw(this.tool === "draw");
        },
      ),
      act("train-add-box", () => this.next ? this.editor.add() : this.#newClass().focus()),
      act("train-nothing", () => this.#empty(), shot.boxes !== null && !shot.boxes.length),
    ];
    replace(
      this.bar,
      step(-1, "train-previous", "‹"),
      h("span", { class: "file" }, this.loose ? this.loose.name : shot ? `${at + 1} / ${shots.length} · ${shot.name}` : ""),
      step(1, "train-next", "›"),
      tools,
      tried && act("train-back", () => this.#back()),
      h("span", { class: "push" }),
      shot?.id && act("train-remove", () => this.#forgetPicture()),
    );
    replace(this.labels, this.#result(), !tried && !this.loose && this.#chips(set, shot), !tried && !this.loose && this.#classForm());
    if (within && focused) document.getElementById(focused)?.focus();
  }

  /** Say what the model has found. */
  #result() {
    const { tried, set } = this;
    if (!tried) return null;
    if (!tried.length) return h("p", { id: "train-found", role: "status" }, t("none-found"));
    if (set?.type === "detection") {
      return h("p", { id: "train-found", role: "status" }, t("train-found", { n: tried.length }));
    }
    const rows = tried.map((/** @type {any} */ { label, confidence }) =>
      h("li", {}, h("span", {}, label), h("b", {}, percent(confidence, 0)), meter(confidence)),
    );
    return h("ol", { class: "train-counts", id: "train-found", role: "status" }, rows);
  }

  /**
   * The classes: of the next box, or of the picture.
   * @param {DataSet} set
   * @param {Shot | undefined} shot
   */
  #chips(set, shot) {
    const chosen = set.type === "detection" ? this.next : (shot?.label ?? "");
    return h(
      "div",
      { class: "row", role: "group", "aria-label": t("train-classes") },
      this.classes.map((name, index) =>
        h(
          "button",
          {
            ...SMALL,
            id: `train-class-${index}`,
            class: "small chip",
            "aria-pressed": String(name === chosen),
            onclick: () => this.#pick(name),
          },
          h("i", { class: "patch", style: { background: this.#color(name) } }),
          name,
          index < 9 && h("kbd", { "aria-hidden": true }, index + 1),
        ),
      ),
    );
  }

  #classForm() {
    const name = h("input", {
      type: "text",
      id: "train-class",
      placeholder: t("train-class"),
      "aria-label": t("train-class"),
      required: true,
      maxlength: 100,
      value: this.typed,
    });
    name.addEventListener("input", () => (this.typed = name.value));
    const onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      const given = name.value.trim();
      if (!given) return;
      if (!this.classes.includes(given)) this.classes.push(given);
      this.next = given;
      this.typed = "";
      this.#side();
      this.#bars();
      this.#newClass().focus(); // it was made anew
    };
    return h("form", { class: "row", onsubmit }, name, h("button", { type: "submit", class: "small" }, t("train-add-class")));
  }

  #newClass() {
    return byId("train-class");
  }

  /** @param {string} name of a class: for the next box, or for the picture */
  #pick(name) {
    this.next = name;
    if (this.set?.type === "classification") this.#label(name);
    else {
      this.editor.rename(name);
      this.#bars();
    }
  }

  /** Say that nothing of the classes is in the picture. */
  #empty() {
    this.editor.attach([]);
    this.#changed();
  }

  /** Go back from what the model has found to what is labelled. */
  #back() {
    const { loose } = this;
    this.tried = null;
    this.loose = null;
    if (loose) {
      release(loose.picture ?? undefined);
      if (this.shot?.picture) this.pane.show(this.shot.picture);
    }
    this.#stage();
    this.#training();
  }

  #strip() {
    const labels = this.set?.type === "classification";
    this.strip.show(this.shots, this.loose ? -1 : this.at, labels);
  }

  /** @param {string} name of a class */
  #color(name) {
    return COLORS[Math.max(this.classes.indexOf(name), 0) % COLORS.length];
  }

  #listen() {
    const onkeydown = (/** @type {KeyboardEvent} */ event) => {
      const typing = event.target instanceof Element && event.target.closest("input, select");
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const name = /^[1-9]$/.test(event.key) && this.classes[Number(event.key) - 1];
      if (name && !this.tried && !this.loose) {
        event.stopPropagation(); // a digit is a class here, not a zoom
        this.#pick(name);
      }
      const step = { PageUp: -1, PageDown: 1 }[event.key];
      if (step) {
        event.preventDefault();
        this.#look(this.at + step);
      }
    };
    this.place.addEventListener("keydown", onkeydown, { capture: true });
  }
}

/** @param {File} file */
function isArchive({ name, type }) {
  return /\.zip$/i.test(name) || /zip/.test(type);
}

/**
 * @param {{class: string, box: Omit<Box, "class">}} annotation
 * @returns {Box}
 */
function boxOf({ class: name, box }) {
  return { class: name, ...box };
}

/** @param {Shot} shot */
function sentBoxes({ boxes }) {
  const rounded = (/** @type {number} */ side) => Math.round(10 * side) / 10;
  return (
    boxes?.map(({ class: name, x1, y1, x2, y2 }) => {
      const box = { x1: rounded(x1), y1: rounded(y1), x2: rounded(x2), y2: rounded(y2) };
      return { class: name, box };
    }) ?? null
  );
}
