/**
 * Recipes in files: anybody may have written them, so that their form is checked before use.
 * @module
 */
import { blobOfBase64 } from "./files.js";
import { sha256 } from "./sha256.js";

const MOST_REGIONS = 100; // of a recipe, as in the service
const MOST_CORNERS = 1000; // of a region, as in the service
const FARTHEST_PX = 1e5; // of a corner from the reference's, as in the service
const PRESETS = [1, 2, 3, 4, 5];

/**
 * Return the recipe that a file holds; null if it is none, or its picture is another one.
 * @param {File} file
 * @returns {Promise<any>}
 */
export async function recipeIn(file) {
  try {
    const recipe = JSON.parse(await file.text());
    if (!isRecipe(recipe)) return null;
    const { data, sha256: sum } = recipe.reference;
    return !data || (await sha256(blobOfBase64(data, ""))) === sum ? recipe : null;
  } catch (error) {
    const isBase64 = !(error instanceof DOMException && error.name === "InvalidCharacterError");
    if (error instanceof SyntaxError || !isBase64) return null;
    throw error;
  }
}

/**
 * Return whether a value has the form that the page relies on; the service checks the rest.
 * @param {any} value
 */
function isRecipe(value) {
  if (!isObject(value) || value.version !== 1 || typeof value.name !== "string") return false;
  const { reference, settings = {}, regions = [], limits = {}, px_per_mm: scale = null } = value;
  return (
    isObject(reference) &&
    typeof reference.sha256 === "string" &&
    [reference.data, reference.path].every((each) => each == null || typeof each === "string") &&
    isObject(settings) &&
    Object.entries(settings).every(isSetting) &&
    areLimits(limits) &&
    isLimit(scale) &&
    Array.isArray(regions) &&
    regions.length <= MOST_REGIONS &&
    regions.every(isRegion)
  );
}

/** @param {any} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {[string, any]} setting name and value */
function isSetting([name, value]) {
  if (name === "preset") return PRESETS.includes(value);
  return value === null || typeof value === "boolean" || Number.isFinite(value) || (name === "resolution" && typeof value === "string");
}

/** @param {any} value */
function isLimit(value) {
  return value === null || (Number.isFinite(value) && value >= 0);
}

/** @param {any} value */
function areLimits(value) {
  return isObject(value) && Object.values(value).every(isLimit);
}

/** @param {any} value */
function isRegion(value) {
  if (!isObject(value) || typeof value.name !== "string") return false;
  const { polygon, limits = null } = value;
  return (limits === null || areLimits(limits)) && Array.isArray(polygon) && polygon.length >= 3 && polygon.length <= MOST_CORNERS && polygon.every(isCorner);
}

/** @param {any} value */
function isCorner(value) {
  return Array.isArray(value) && value.length === 2 && value.every((each) => Number.isFinite(each) && Math.abs(each) <= FARTHEST_PX);
}
