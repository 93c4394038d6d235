/**
 * The page's state as it is kept: pictures, settings, limits, regions and views.
 * @module
 */
import { pictureOf } from "./pictures.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./keep.js").Entries} Entries */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {{values: any, memo: any, judging: any, recipe: any, regions: any[], looks: any[]}} DeskState */

const VIEW = ["mode", "swipe", "blinking", "selected", "regionOpen", "opacity"]; // of a memo

/**
 * Return a desk as it is kept.
 * @param {Desk} desk
 * @returns {DeskState}
 */
export function deskState({ values, memo, judging, recipe, region, slots }) {
  const kept = VIEW.filter((name) => name in memo).map((name) => [name, memo[name]]);
  const regions = region?.regions ?? [];
  const looks = slots.map(({ pane }) => (pane.viewport.clientWidth && !pane.fitted ? pane.view : null));
  const state = { values, memo: Object.fromEntries(kept), judging, recipe, regions, looks };
  return JSON.parse(JSON.stringify(state)); // as it is now
}

/**
 * Set a desk as it was; its regions wait for their picture.
 * @param {Desk} desk
 * @param {DeskState} state
 */
export function restoreDesk(desk, { values, memo, judging, recipe }) {
  Object.assign(desk.values, values);
  Object.assign(desk.memo, memo);
  Object.assign(desk.judging, judging);
  desk.recipe = recipe ?? null;
  desk.form.render();
}

/**
 * Return pictures as they are kept.
 * @param {(Picture | undefined)[]} pictures
 * @returns {Entries}
 */
export function pictureEntries(pictures) {
  /** @type {Entries} */
  const entries = {};
  pictures.forEach((picture, index) => {
    if (!picture) return;
    entries[`picture-${index}`] = picture.blob;
    entries[`picture-${index}-name`] = { name: picture.name, source: picture.source };
  });
  return entries;
}

/**
 * @param {Entries} entries
 * @returns {Promise<(Picture | undefined)[]>} by place
 */
export async function restoredPictures(entries) {
  /** @type {(Picture | undefined)[]} */
  const pictures = [];
  for (const [key, value] of Object.entries(entries)) {
    const [, index] = /^picture-(\d+)$/.exec(key) ?? [];
    if (index === undefined || !(value instanceof Blob)) continue;
    const { name, source } = /** @type {any} */ (entries[`${key}-name`]);
    try {
      pictures[Number(index)] = await pictureOf(value, name, source);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // else the browser has lost the file
    }
  }
  return pictures;
}
