/**
 * Recipes: what the page has of a part, stored in the service or in a file, and used again.
 * @module
 */
import { Failure } from "./api.js";
import { OPERATION, SETTINGS } from "./comparison.js";
import { confirmed, section } from "./controls.js";
import { SMALL, h, redraw, replace } from "./dom.js";
import { blobOfBase64, bytesOf, save } from "./files.js";
import { kindOf } from "./file-kinds.js";
import { presetName } from "./form.js";
import { number, t } from "./i18n.js";
import { recipeIn } from "./recipe-file.js";
import { settingOf } from "./reply.js";
import { sha256 } from "./sha256.js";

/** @typedef {import("./desk.js").Desk} Desk */
/**
 * @typedef {object} Recipe in use
 * @property {string} name
 * @property {number} version in the service; 0: of a file
 * @property {string} mark of what the page had when it began to be used
 * @property {Record<string, any>} kept settings that the page has no field for
 * @property {boolean} learnt whether it has a tolerance
 */

const PATH = "/v1/recipes";
const MOST = 200; // of the list
/** @type {Record<string, string>} */
const TYPES = { jpeg: "image/jpeg", png: "image/png", gif: "image/gif" };

/**
 * Return a recipe of what the page has, without its picture.
 * @param {Desk} desk
 * @param {string} name
 */
export function recipeOf(desk, name) {
  const { values, judging, region, recipe } = desk;
  const fine = values.fic_settings ?? {};
  /** @type {Record<string, any>} */
  const settings = { ...recipe?.kept, preset: values.preset ?? 1 };
  for (const each of SETTINGS) if (fine[each] !== undefined) settings[each] = fine[each];
  if (fine.behaviors === "HSV") settings.use_hsv = true;
  const { limits, pxPerMm, regionLimits } = judging;
  const regions = (region?.regions ?? []).map(({ name: own, use, polygon }) => {
    const stricter = use === "compare" ? regionLimits[own] : undefined;
    return { name: own, use: use === "compare" ? "include" : use, polygon, ...(stricter && { limits: stricter }) };
  });
  return { version: 1, name, settings, regions, limits, ...(pxPerMm && { px_per_mm: pxPerMm }) };
}

/**
 * Return a key of all that a recipe states.
 * @param {Desk} desk
 */
export function markOf(desk) {
  return JSON.stringify([recipeOf(desk, ""), desk.pictures[0]?.name, desk.pictures[0]?.blob.size]);
}

/**
 * Return a key of what a shot is compared with and how; limits are no part of it.
 * @param {Desk} desk
 */
export function comparisonOf(desk) {
  const { settings, regions } = recipeOf(desk, "");
  const places = regions.map(({ use, polygon }) => [use, polygon]);
  const { name, blob } = desk.pictures[0] ?? {};
  const by = desk.byRecipe && [desk.recipe?.name, desk.recipe?.version];
  return JSON.stringify([settings, places, name, blob?.size, by]);
}

/**
 * Return what a key of `comparisonOf` says, in words.
 * @param {string} key
 * @param {import("./form.js").Form} form whose presets the settings are of
 * @returns {[string, string][]}
 */
export function comparisonWords(key, form) {
  const [{ preset, ...changed }, places, reference, , by] = JSON.parse(key);
  const chosen = form.presets.find((each) => each.preset === preset);
  const settings = Object.entries({ ...chosen?.settings, ...changed }).filter(([, value]) => value !== "");
  const uses = places.map((/** @type {[string]} */ [use]) => t(use === "ignore" ? "roi-ignore" : "roi-compare"));
  const corners = places.map((/** @type {[string, number[][]]} */ [, polygon]) =>
    polygon.map((point) => `(${point.map((each) => number(each, 0)).join(" ")})`).join(" "),
  );
  /** @type {[string, string][]} */
  const rows = [
    [t("reference"), reference ?? "–"],
    [
      t("settings"),
      [
        `${chosen ? presetName(chosen) : ""} (${t("preset-number", { n: preset })})`,
        ...settings.map(([name, value]) => settingOf(name, value)),
      ].join(", "),
    ],
    ...corners.map((/** @type {string} */ where, /** @type {number} */ at) => [uses[at], where]),
  ];
  if (by) rows.push([t("recipe"), t("recipe-version", { name: by[0], version: by[1] })]);
  return rows;
}

/**
 * Set a desk as a recipe states; its reference is there already.
 * @param {Desk} desk
 * @param {any} stated
 */
async function apply(desk, { settings = {}, regions = [], limits = {}, px_per_mm: scale = 0 }) {
  const { preset = 1, use_hsv: hsv, ...others } = settings;
  const fine = Object.fromEntries(SETTINGS.filter((each) => each in others).map((each) => [each, others[each]]));
  Object.assign(desk.values, { preset, fic_settings: { ...fine, ...(hsv && { behaviors: "HSV" }) } });
  const regionLimits = Object.fromEntries(
    regions.filter((/** @type {any} */ each) => each.limits).map((/** @type {any} */ each) => [each.name, each.limits]),
  );
  Object.assign(desk.judging, { limits: { ...limits }, pxPerMm: scale, regionLimits });
  desk.form.render();
  await desk.region?.load(
    regions.map((/** @type {any} */ each) => ({ ...each, use: each.use === "ignore" ? "ignore" : "compare" })),
  );
}

export class Recipes {
  /**
   * @param {import("./api.js").Api} api
   * @param {object} acts
   * @param {() => Promise<boolean>} acts.signedIn asks for the account where there is none
   * @param {(file: File) => Promise<void>} acts.refer puts the reference into its place
   * @param {() => void} acts.used the desk was set by a recipe
   */
  constructor(api, acts) {
    this.api = api;
    this.acts = acts;
    /** @type {{name: string, version: number}[] | null} null: not asked for yet */
    this.list = null;
    this.open = false;
    this.name = ""; // of the recipe that is about to be made
    this.trouble = "";
    /** The last thing done, in words: they follow the language. */
    this.said = () => "";
    this.good = 0; // good shots that the service has
    /** @type {string} picture of what may differ */
    this.map = "";
    /** @type {Desk | undefined} */
    this.desk = undefined;
    this.place = h("div", { class: "recipes" });
  }

  /**
   * Return the section of the panel, or nothing where an operation has none.
   * @param {Desk} desk
   * @param {Record<string, any>} paths of the service
   */
  section(desk, paths) {
    if (desk.operation.name !== OPERATION || !paths[PATH]?.post) return null;
    this.desk = desk;
    this.teaches = Boolean(paths[`${PATH}/{name}/teach`]);
    const whole = section(t("recipe"), this.open || desk.recipe !== null, h("p", { class: "help" }, t("recipe-help")), this.place);
    whole.id = "recipe";
    whole.addEventListener("toggle", () => {
      this.open = whole.open;
      if (whole.open && !this.list) this.#load();
    });
    this.show();
    return whole;
  }

  /** The account has changed: so have its recipes. */
  signedIn() {
    this.list = null;
    if (this.place.closest("details")?.open) this.#load();
  }

  show() {
    redraw(this.place, () => this.#draw());
  }

  #draw() {
    const { desk } = this;
    if (!desk) return;
    const focused = this.place.contains(document.activeElement) && document.activeElement?.id;
    const reference = desk.pictures[0];
    replace(
      this.place,
      desk.recipe ? this.#inUse(desk, desk.recipe) : [this.#choice(), reference && this.#making()],
      this.trouble && h("p", { class: "problem", role: "alert" }, this.trouble),
      h("p", { class: "help", role: "status" }, this.said()),
      this.map && h("figure", {}, h("img", { src: this.map, alt: t("recipe-map") }), h("figcaption", { class: "help" }, t("recipe-map"))),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  #choice() {
    /** @type {{name: string, version: number}[]} */
    const list = this.list ?? [];
    const select = h(
      "select",
      { id: "recipe-choice", "aria-label": t("recipe-stored"), disabled: !list.length },
      list.length
        ? list.map(({ name, version }) => h("option", { value: name }, t("recipe-version", { name, version: String(version) })))
        : h("option", {}, t("recipe-none")),
    );
    const use = { ...SMALL, id: "recipe-use", disabled: !list.length, onclick: () => this.#quietly(() => this.use(select.value)) };
    const input = h("input", { type: "file", accept: ".json,application/json", class: "quietly", id: "recipe-file" });
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (file) this.#quietly(() => this.openFile(file));
    });
    return h(
      "div",
      { class: "row" },
      select,
      h("button", use, t("recipe-use")),
      h("label", { class: "button small" }, t("recipe-open"), input),
    );
  }

  #making() {
    const name = h("input", {
      id: "recipe-name",
      type: "text",
      maxlength: 255,
      value: this.name,
      placeholder: t("recipe-name"),
      "aria-label": t("recipe-name"),
      autocomplete: "off",
    });
    name.addEventListener("input", () => (this.name = name.value));
    const act = (/** @type {string} */ id, /** @type {string} */ words, /** @type {(name: string) => Promise<void>} */ make) =>
      h(
        "button",
        {
          ...SMALL,
          id,
          onclick: () => {
            if (name.value.trim()) this.#quietly(() => make(name.value.trim()));
            else name.focus();
          },
        },
        words,
      );
    return h(
      "div",
      { class: "row" },
      name,
      act("recipe-store", t("recipe-store"), (given) => this.#store(given)),
      act("recipe-save", t("recipe-save"), (given) => this.#save(given)),
    );
  }

  /**
   * @param {Desk} desk
   * @param {Recipe} recipe
   */
  #inUse(desk, recipe) {
    const changed = recipe.mark !== markOf(desk);
    const { name, version } = recipe;
    const act = (/** @type {string} */ id, /** @type {string} */ words, /** @type {() => Promise<void>} */ make) =>
      h("button", { ...SMALL, id, onclick: () => this.#quietly(make) }, words);
    const leave = { type: "button", class: "quiet small", id: "recipe-leave", onclick: () => this.leave() };
    const shot = desk.pictures[1];
    return [
      h(
        "div",
        { class: "row spread" },
        h("strong", {}, version ? t("recipe-version", { name, version: String(version) }) : name),
        h("button", leave, t("recipe-leave")),
      ),
      changed && h("p", { class: "help" }, t(recipe.learnt ? "recipe-changed-learnt" : "recipe-changed")),
      h(
        "div",
        { class: "row" },
        (changed || !version) && act("recipe-store", t("recipe-store"), () => this.#store(name)),
        changed && version > 0 && act("recipe-undo", t("recipe-undo"), () => this.use(name)),
        act("recipe-save", t("recipe-save"), () => this.#save(name)),
        version > 0 && confirmed("recipe-delete", t("recipe-delete"), () => this.#quietly(() => this.#delete(name))),
      ),
      version > 0 &&
        this.teaches &&
        h(
          "div",
          { class: "row" },
          shot && act("recipe-good", t("recipe-good"), () => this.#addGood(name)),
          this.good > 0 && act("recipe-teach", t("recipe-teach", { n: this.good }), () => this.#teach(name)),
          recipe.learnt && !this.map && act("recipe-show-map", t("recipe-show-map"), () => this.#showMap(name)),
        ),
      version > 0 && this.teaches && h("p", { class: "help" }, t("recipe-good-help")),
    ];
  }

  async #load() {
    if (!this.api.session.open) return;
    await this.#quietly(async () => {
      const answer = await this.api.ask(`${PATH}?limit=${MOST}`);
      this.list = (await answer.json()).recipes;
    });
  }

  /**
   * Use a recipe of the service.
   * @param {string} name
   */
  async use(name) {
    const answer = await this.api.ask(`${this.#path(name)}?embed=true`);
    const { version, recipe } = await answer.json();
    await this.#take(recipe, version);
    await this.#count(name);
  }

  /** @param {File} file */
  async openFile(file) {
    const recipe = await recipeIn(file);
    if (!recipe) {
      this.trouble = t("recipe-wrong", { name: file.name });
      return;
    }
    await this.#take(recipe, 0);
    if (recipe.tolerance) this.said = () => t("recipe-unlearnt");
  }

  /**
   * @param {any} recipe
   * @param {number} version 0: of a file
   */
  async #take(recipe, version) {
    const { desk } = this;
    if (!desk) return;
    const { data, path, sha256: sum } = recipe.reference;
    const there = desk.pictures[0];
    const same = there !== undefined && (await sha256(there.blob)) === sum;
    if (data && !same) {
      const kind = kindOf(bytesOf(data.slice(0, 1024)));
      const name = path?.split("/").pop() ?? `${recipe.name}.${kind}`;
      await this.acts.refer(new File([blobOfBase64(data, TYPES[kind] ?? "")], name, { type: TYPES[kind] }));
    } else if (!same) {
      this.trouble = t("recipe-picture", { name: path ?? "" });
      return;
    }
    await apply(desk, recipe);
    const { min_area_percent: least, edge_tolerance: edge } = recipe.settings ?? {};
    const kept = Object.fromEntries(Object.entries({ min_area_percent: least, edge_tolerance: edge }).filter(([, value]) => value !== undefined));
    desk.recipe = { name: recipe.name, version, mark: "", kept, learnt: Boolean(recipe.tolerance) && version > 0 };
    desk.recipe.mark = markOf(desk);
    this.map = "";
    this.good = 0;
    const names = Object.keys(kept).join(", ");
    this.said = () => (!version && names ? t("recipe-partly", { names }) : "");
    this.acts.used();
  }

  /** Forget what was typed, said and shown. */
  forget() {
    Object.assign(this, { name: "", map: "", good: 0, said: () => "", trouble: "" });
  }

  /** Go on without the recipe, with what it has set. */
  leave() {
    if (this.desk) this.desk.recipe = null;
    Object.assign(this, { map: "", said: () => "", trouble: "" });
    this.acts.used();
    if (!this.list) this.#load();
  }

  /** @param {string} name */
  async #delete(name) {
    await this.api.ask(this.#path(name), { method: "DELETE" });
    this.leave();
    await this.#load();
  }

  /** @param {string} name */
  async #whole(name) {
    const { desk } = this;
    const reference = desk?.pictures[0];
    if (!desk || !reference) throw new Error("a recipe needs its reference");
    return { reference, recipe: recipeOf(desk, name), sum: await sha256(reference.blob) };
  }

  /** @param {string} name */
  async #store(name) {
    if (!(await this.acts.signedIn())) return;
    const { reference, recipe, sum } = await this.#whole(name);
    const form = new FormData();
    form.append("reference", reference.blob, reference.name);
    form.append("recipe", JSON.stringify({ ...recipe, reference: { path: reference.name, sha256: sum } }));
    const answer = await this.api.ask(PATH, { method: "POST", body: form });
    const { version } = await answer.json();
    const { desk } = this;
    if (!desk) return;
    desk.recipe = { name, version, mark: markOf(desk), kept: desk.recipe?.kept ?? {}, learnt: false };
    this.list = null;
    this.map = "";
    this.said = () => t("recipe-was-stored", { name, version: String(version) });
    await this.#count(name);
    this.acts.used();
  }

  /** @param {string} name */
  async #save(name) {
    const { reference, recipe, sum } = await this.#whole(name);
    const bytes = new Uint8Array(await reference.blob.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    const whole = { ...recipe, reference: { data: btoa(text), sha256: sum } };
    const file = new Blob([`${JSON.stringify(whole, null, 1)}\n`], { type: "application/json" });
    save(file, `${name.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.json`);
  }

  // ------------------------------------------------------------------------- good shots

  /** @param {string} name */
  async #count(name) {
    if (!this.teaches) return;
    const answer = await this.api.ask(`${this.#path(name)}/good-shots`);
    this.good = (await answer.json()).total;
  }

  /** @param {string} name */
  async #addGood(name) {
    const shot = this.desk?.pictures[1];
    if (!shot) return;
    const form = new FormData();
    form.append("shot", shot.blob, shot.name);
    await this.api.ask(`${this.#path(name)}/good-shots`, { method: "POST", body: form });
    await this.#count(name);
    this.said = () => t("recipe-good-added", { name: shot.name });
  }

  /** @param {string} name */
  async #teach(name) {
    const answer = await this.api.ask(`${this.#path(name)}/teach`, { method: "POST" });
    const { version, good_shots: learnt, left_out: left, map } = await answer.json();
    await this.use(name);
    this.list = null;
    this.map = `data:image/png;base64,${map}`;
    this.said = () =>
      [
        t("recipe-taught", { n: learnt, version: String(version) }),
        ...left.map((/** @type {any} */ { reason }) => t("recipe-left-out", { reason })),
      ].join(" ");
  }

  /** @param {string} name */
  async #showMap(name) {
    const answer = await this.api.ask(`${this.#path(name)}/tolerance`);
    this.map = `data:image/png;base64,${(await answer.json()).map}`;
  }

  /** @param {string} name */
  #path(name) {
    return `${PATH}/${encodeURIComponent(name)}`;
  }

  /**
   * Do something, and say in the section what is wrong with it.
   * @param {() => Promise<void>} act
   */
  async #quietly(act) {
    this.trouble = "";
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.trouble = error.problems[0]?.message || error.message || t("error-offline-long");
    }
    this.show();
  }
}
