/**
 * Words of the operation that compares: its name, and settings that other interfaces have, too.
 * @module
 */

export const OPERATION = "differences";
/** Parameters of inspections and of recipes, and names within `fic_settings`. */
export const SETTINGS = ["threshold", "smooth", "margin", "resolution"];
/** Parameter that takes the name of a stored recipe. */
export const RECIPE = "recipe";
