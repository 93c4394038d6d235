/**
 * An operation with all that the user has set for it and got from it.
 * @module
 */
import { RECIPE } from "./comparison.js";
import { isUnfit } from "./file-kinds.js";
import { Form } from "./form.js";
import { firstJudging } from "./limits.js";
import { markOf } from "./recipes.js";
import { RegionEditor } from "./region.js";
import { resultOf } from "./reply.js";
import { Slot } from "./slot.js";
import { viewOf } from "./views/index.js";

/** @typedef {import("./operations.js").Operation} Operation */
/** @typedef {import("./pictures.js").Picture} Picture */

const REGION = /_roi$/; // names of parameters that take a region of the picture named before

export class Desk {
  /**
   * @param {Operation} operation
   * @param {import("./views/index.js").View} view
   * @param {import("./form.js").Preset[]} presets
   * @param {(Picture | undefined)[]} pictures by place; all desks share them
   * @param {object} acts
   * @param {(moving?: boolean) => void} acts.changed
   * @param {import("./region.js").RegionEditor["acts"]} acts.region
   * @param {(index: number) => import("./slot.js").Giving} acts.giving
   */
  constructor(operation, view, presets, pictures, acts) {
    this.operation = operation;
    this.view = view;
    this.pictures = pictures;
    /** @type {Record<string, any>} */
    this.values = { ...view.start };
    /** @type {Record<string, any>} what the user has set in the view */
    this.memo = {};
    this.judging = firstJudging();
    /** @type {import("./recipes.js").Recipe | null} the one in use */
    this.recipe = null;
    this.form = new Form(operation, this.values, presets, acts.changed);
    /** @type {any} the latest */
    this.reply = null;
    this.answered = ""; // what the reply is the answer to
    this.seen = ""; // the pictures that it is about
    this.counted = ""; // the pictures and the region that the presets' counts are about

    const region = operation.pictures.find(({ name, required }) => !required && REGION.test(name));
    const others = operation.pictures.filter((field) => field !== region);
    this.slots = others.map((field, index) => new Slot(field, acts.giving(index)));
    this.regionField = region?.name ?? "";
    /** @type {RegionEditor | null} */
    this.region = null;
    if (region) {
      const target = region.name.replace(REGION, "");
      const slot = this.slots.find(({ field }) => field.name === target) ?? this.slots[0];
      this.region = new RegionEditor(slot.pane, target, region.name, acts.region);
    }
  }

  /**
   * Return the pictures that a request sends, by the names of the parameters.
   * @returns {Record<string, Picture>}
   */
  get sent() {
    /** @type {Record<string, Picture>} */
    const sent = {};
    this.slots.forEach(({ field }, index) => {
      const picture = this.pictures[index];
      if (picture && !isUnfit(picture.unreadable)) sent[field.name] = picture;
    });
    if (this.region?.picture) sent[this.regionField] = this.region.picture;
    return sent;
  }

  /** Return whether the service compares by the recipe in use: nothing was changed since. */
  get byRecipe() {
    const { recipe, operation } = this;
    const taken = operation.fields.some(({ name }) => name === RECIPE);
    return recipe !== null && recipe.version > 0 && taken && recipe.mark === markOf(this);
  }

  /**
   * Return what a request is made of: a recipe takes the place of what it states.
   * @returns {{values: Record<string, any>, pictures: Record<string, Picture>}}
   */
  get request() {
    const { values, sent } = this;
    if (!this.byRecipe) return { values, pictures: sent };
    const { preset: _, fic_settings: __, ...others } = values;
    const { [this.regionField]: ___, ...pictures } = sent;
    return { values: { ...others, [RECIPE]: this.recipe?.name }, pictures };
  }

  /**
   * Return the names of the pictures that must still be given; a file that is none does not count.
   * @returns {string[]}
   */
  get missing() {
    const { sent } = this;
    return this.slots
      .map(({ field }) => field)
      .filter(({ required, name }) => required && !sent[name])
      .map(({ name }) => name);
  }

  /**
   * Return by what a shot is judged.
   * @returns {import("./verdict.js").Rules}
   */
  get rules() {
    const { limits, pxPerMm, regionLimits } = this.judging;
    const { width = 0, height = 0 } = this.pictures[0] ?? {};
    const regions = (this.region?.regions ?? [])
      .filter(({ use, name }) => use === "compare" && regionLimits[name])
      .map(({ name, polygon }) => ({ name, polygon, limits: regionLimits[name] }));
    return { limits, regions, mm2: pxPerMm ? (width * height) / pxPerMm ** 2 : 0, pxPerMm };
  }

  /** Return a key of the set of pictures. */
  get subject() {
    return this.slots.map((_, index) => this.pictures[index]?.url ?? "").join(" ");
  }

  /** Return a key of the request. */
  get signature() {
    const by = this.byRecipe && [this.recipe?.name, this.recipe?.version];
    return JSON.stringify([this.values, this.subject, this.region?.picture?.url, by]);
  }

  /**
   * Return whether a change may be computed at once: a picture goes to another provider only when
   * the user says so.
   */
  get live() {
    return !this.operation.remote || this.memo.local === this.provider;
  }

  get provider() {
    return this.values.provider ?? "";
  }

  /** Forget a reply that is about other pictures. */
  forgetOthers() {
    if (this.seen !== this.subject) this.reply = null;
  }
}

/** @type {Map<string, import("./form.js").Preset[]>} */
const listed = new Map();

/**
 * @param {Operation} operation
 * @param {(Picture | undefined)[]} pictures
 * @param {ConstructorParameters<typeof Desk>[4]} acts
 */
export async function deskOf(operation, pictures, acts) {
  const [view, presets] = await Promise.all([viewOf(operation.name), presetsOf(operation)]);
  return new Desk(operation, view, presets, pictures, acts);
}

/** @param {Operation} operation */
async function presetsOf({ name, presets }) {
  if (presets && !listed.has(name)) {
    const answer = await fetch(presets);
    if (answer.ok) listed.set(name, resultOf(await answer.json()).presets);
  }
  return listed.get(name) ?? [];
}
