/**
 * The page's own words, in English and French. Messages of the service are shown unchanged.
 * @module
 */
import { french } from "./french.js";
import { english as training } from "./train-words.js";

/** @typedef {"en" | "fr"} Language */

/** @type {Record<string, string>} */
export const english = {
  ...training,
  skip: "Skip to the pictures",
  docs: "API",
  language: "Language",
  theme: "Appearance",
  "theme-system": "System",
  "theme-light": "Light",
  "theme-dark": "Dark",
  "sign-in": "Sign in",
  "sign-out": "Sign out",
  operations: "Operations",
  "one-picture": "One picture",
  "two-pictures": "Two pictures",
  "more-pictures": "Several pictures",
  panel: "Settings and results",
  "session-title": "Sign in",
  "wrong-password": "User name or password is wrong.",
  "session-help": "With the account of this service. The password is not kept.",
  "session-reloaded": "Pictures and settings are still here. The password is not kept.",
  kept: "This browser keeps pictures and settings for the next visit: {size}. Signing out deletes them.",
  "kept-part": "There is no room to keep everything: a reload loses a part of the pictures.",
  "kept-paused": "This browser keeps nothing until somebody signs in.",
  "kept-nothing": "This browser keeps nothing: a reload loses pictures and settings.",
  forget: "Forget everything",
  really: "Really?",
  username: "User name",
  password: "Password",
  token: "Access token",
  "token-help":
    "Accounts are with an identity provider: paste an access token of it. It is not kept.",
  later: "Not now",
  "session-expired": "The session has ended. Sign in again: pictures and settings are still here.",
  "drop-here": "Drop a picture here, or paste it",
  choose: "Choose a file",
  photograph: "Photograph",
  replace: "Replace",
  remove: "Remove",
  address: "Address of a picture",
  fetch: "Fetch",
  formats: "JPEG, PNG or GIF. The service does not store them.",
  "not-shown": "not readable",
  unreadable: "{name} cannot be read.",
  "file-empty": "The file is empty. Copy it again from its source.",
  "file-heic":
    "It is a HEIC photo, as iPhones take them. Export it as JPEG; or set the phone to JPEG: Settings, Camera, Formats, Most Compatible.",
  "file-tiff": "It is a TIFF or a camera’s raw file. Export it as PNG or JPEG.",
  "file-pdf": "It is a PDF document. Export the page as PNG or JPEG.",
  "file-psd": "It is a Photoshop document. Export it as PNG or JPEG.",
  "file-zip": "It is an archive or an office document. Take the picture out of it.",
  "file-video": "It is a video, or a picture of a newer format. Export a frame as PNG or JPEG.",
  "file-html": "It is a web page. Save the picture itself, not the page around it.",
  "file-jpeg": "It is a JPEG, but damaged or cut off. Copy it again from its source.",
  "file-png": "It is a PNG, but damaged or cut off. Copy it again from its source.",
  "file-gif": "It is a GIF, but damaged or cut off. Copy it again from its source.",
  "file-webp": "It is a WebP, but damaged or cut off. Export it again as PNG or JPEG.",
  "file-other": "It is no picture that a browser knows. Give a JPEG, PNG or GIF.",
  "sample-pair": "Try a sample pair",
  "sample-pair-help": "A machine part with four defects, drawn for this page.",
  "sample-one": "Try a sample picture",
  "sample-one-help": "A machine part, drawn for this page.",
  "first-account":
    "The user name is {username}. Its password was printed where the service was started; it is kept in the file {file} there.",
  "zoom-in": "Zoom in",
  "zoom-out": "Zoom out",
  "zoom-fit": "See all",
  "zoom-one": "Actual pixels",
  settings: "Settings",
  shots: "Many shots",
  "shots-help":
    "Shots of the same part, each compared with the first picture. Drop a folder anywhere on the page.",
  "shots-choose": "Add shots",
  "shots-folder": "Add a folder",
  "shots-watch": "Watch a folder",
  "shots-watch-again": "Go on watching {name}",
  "shots-watch-stop": "Stop watching",
  "shots-watching": "Watching {name}: each new shot is shown and judged. Older files are left out.",
  "shots-watch-lost": "The folder {name} cannot be read any more.",
  "shots-camera": "Camera",
  "shots-camera-stop": "Camera off",
  "shots-shoot": "Take a shot",
  "shots-no-camera":
    "The browser gives no camera: none is there, or it is not allowed for this page.",
  "shots-which": "Which camera",
  "shots-camera-nth": "Camera {n}",
  "shots-camera-other": "The camera that was chosen is not there. This is {name}.",
  "shots-camera-lost": "The camera is gone: it was unplugged, or another program uses it.",
  "shots-others_one": "{n} file is no picture and was left out.",
  "shots-others_other": "{n} files are no pictures and were left out.",
  "shots-most_one": "{n} shot was left out: a queue holds {most}.",
  "shots-most_other": "{n} shots were left out: a queue holds {most}.",
  "shots-released_one":
    "A queue holds {most}. {n} older shot has left it: {ok} OK, {ng} NG, {error} errors.",
  "shots-released_other":
    "A queue holds {most}. {n} older shots have left it: {ok} OK, {ng} NG, {error} errors.",
  "shots-reference": "Give the reference first: it is the first picture.",
  "shots-start_one": "Inspect {n} shot",
  "shots-start_other": "Inspect {n} shots",
  "shots-stale": "Some verdicts are of another reference, other settings or regions.",
  "shots-again": "Inspect all again",
  "shots-clear": "Empty the queue",
  "shots-running": "{done} of {all} inspected, {bad}",
  "shots-ended": "{done} of {all} inspected, {bad}. Finished.",
  "shots-bad_one": "{n} not OK",
  "shots-bad_other": "{n} not OK",
  "shots-waits": "The service does not answer as it should. It is asked again. {why}",
  "shots-left_one": "{n} shot was not inspected. {why}",
  "shots-left_other": "{n} shots were not inspected. {why}",
  "shots-unreadable": "The file is gone, or cannot be read any more.",
  "shots-last": "This is the last shot of the list.",
  "shots-first": "This is the first shot of the list.",
  "shots-undecided": "OK and NG are decided for a shot of the queue. None is shown.",
  "shots-old": "compared with another reference, other settings or regions",
  "shots-more_one": "{n} more difference",
  "shots-more_other": "{n} more differences",
  "shots-cancel": "Cancel",
  "shots-look": "Show beside the reference",
  "shots-gone": "{name} is not kept any more: only its verdict is.",
  "shots-filter": "Shots shown",
  "shots-all": "All",
  "shots-none": "No shot of the queue is shown.",
  "shots-decided": "decided; found: {verdict}.",
  "shots-keys": "Keys: N and P go on and back, O is OK, X is NG",
  "part-next": "Next shot",
  "part-before": "Shot before",
  decide: "Decide {verdict} (key {key})",
  reference: "Reference",
  shot: "Shot",
  verdict: "Verdict",
  reason: "Reason",
  unaligned: "not the same thing, or too different to be aligned",
  "verdict-none": "not yet",
  "verdict-OK": "OK",
  "verdict-NG": "NG",
  "verdict-ERROR": "Error",
  "limits-none": "no difference",
  recipe: "Recipe",
  "recipe-help":
    "All of a part in one: reference, regions, settings and limits. Stations and scripts use it by its name.",
  "recipe-stored": "Stored recipes",
  "recipe-none": "none stored",
  "recipe-version": "{name}, version {version}",
  "recipe-use": "Use",
  "recipe-open": "Open a file",
  "recipe-name": "Name of a new recipe",
  "recipe-store": "Store in the service",
  "recipe-save": "Save as a file",
  "recipe-leave": "Leave the recipe",
  "recipe-delete": "Delete all versions",
  "recipe-undo": "Undo the changes",
  "recipe-changed": "Changed since: store it to use the changes by name.",
  "recipe-changed-learnt":
    "Changed since: compared without what good shots taught, until it is stored and taught again.",
  "recipe-was-stored": "Stored: {name}, version {version}.",
  "recipe-wrong": "{name} is not a recipe of version 1.",
  "recipe-picture": "The recipe names its picture {name} but does not hold it: give this picture as the first one, then open the recipe again.",
  "recipe-partly": "The page has no field for {names}: they count once the recipe is stored.",
  "recipe-unlearnt": "What good shots taught is not read from a file: store the recipe and teach it.",
  "recipe-good": "This shot is good",
  "recipe-good-added": "{name} is among the good shots.",
  "recipe-good-help":
    "Good shots teach what may differ from part to part: grain, print, reflections. Five are better than one.",
  "recipe-teach_one": "Teach by {n} good shot",
  "recipe-teach_other": "Teach by {n} good shots",
  "recipe-taught_one": "Version {version} has learnt from {n} shot, the reference among them.",
  "recipe-taught_other": "Version {version} has learnt from {n} shots, the reference among them.",
  "recipe-left-out": "Left out: {reason}.",
  "recipe-map":
    "What may differ. Red: lighter. Blue: darker. Green: of another chroma. Yellow: edges elsewhere. Magenta: good specimens differ.",
  "recipe-show-map": "Show what may differ",
  "by-recipe": "Recipe",
  limits: "Limits",
  "limits-help": "What a good shot has at most. Empty: no limit; all empty: no difference.",
  max_count: "Differences",
  max_area_percent: "Area, %",
  max_area_mm2: "Area, mm²",
  max_strength: "Strength",
  max_displacement_px: "Displacement, px",
  max_displacement_mm: "Displacement, mm",
  max_turn_degrees: "Turn, °",
  max_scale_percent: "Scale, ± %",
  placement: "Placement",
  "placement-help": "How far the part may be from its place on the reference. Empty: any place.",
  px_per_mm: "Scale, px per mm",
  "limit-count": "Differences",
  "limit-displacement": "Displaced",
  "limit-turn": "Turned",
  "limit-scale": "Scale off by",
  "limit-found": "{found} (at most {most})",
  "limit-range": "Allowed are numbers from 0 to {most}.",
  "limit-least": "Allowed are numbers from 0.",
  "limit-before": "The limit before it still counts.",
  "not-the-same": "not the same thing: nothing of the reference was found in the shot",
  "more-settings": "Form of the reply",
  "no-settings": "This operation has no settings.",
  run: "Analyze",
  "result-of": "Result",
  "run-remote": "May send the picture to another provider: starts when you say so.",
  "back-to-preset": "Back to {name}",
  "preset-count_one": "{n} difference on this pair",
  "preset-count_other": "{n} differences on this pair",
  "preset-number": "preset {n}",
  changed_one: "{n} number differs from the preset",
  changed_other: "{n} numbers differ from the preset",
  reset: "Defaults",
  "a-number": "a number",
  "service-default": "the service's",
  raw: "Raw JSON",
  details: "Details",
  copy: "Copy",
  copied: "Copied",
  "copy-as": "Copy as",
  "copy-token": "Token",
  "copy-token-help":
    "curl and Python send the access token in TOKEN. Token copies the command that gets one.",
  "token-elsewhere":
    "curl and Python send the access token in TOKEN: one of your identity provider.",
  "copy-region": "The request as curl or Python sends {name}: save it where they run.",
  save: "Save",
  "save-json": "JSON",
  report: "Report",
  "sign-in-first": "Sign in to analyze.",
  "left-out": "Not taken, for want of a place: {names}.",
  "need-picture_one": "A picture is missing: {names}.",
  "need-picture_other": "Pictures are missing: {names}.",
  failed: "No result",
  "see-settings": "No result: a setting is refused. The reason is beside it.",
  "error-offline": "The service cannot be reached. Everything is kept; asked again in {n} s.",
  "error-offline-long":
    "The service cannot be reached. Everything is kept: try again once it is back.",
  "error-expired": "The session has ended. Pictures and settings are kept.",
  "error-busy": "The service is busy. Asked again in {n} s.",
  "error-busy-long": "The service is busy still. Everything is kept: try again later.",
  "error-too-large": "This picture is larger than the service takes.",
  "error-format": "The service reads JPEG, PNG and GIF, and this is none of them.",
  "error-fault": "The service failed. The reason is in its log.",
  "try-again": "Try again",
  "try-now": "Try now",
  halve: "Send it at half the size",
  convert: "Convert to PNG",
  "fetch-failed": "The picture could not be fetched.",
  opacity: "Opacity",
  overlay: "Overlay",
  "cut-out": "Cut out",
  "mask-only": "Mask alone",
  "side-by-side": "Side by side",
  "view-mode": "View",
  marks: "Marks",
  before: "Reference",
  after: "Shot",
  swipe: "Swipe",
  blink: "Blink",
  "swipe-at": "Boundary between the pictures",
  "blink-stop": "Hold",
  "blink-go": "Blink",
  "blink-other": "Other picture",
  "blink-shows": "Shown: {name}",
  "needs-transform": "To overlay the pictures, switch on transform.",
  differences_one: "difference",
  differences_other: "differences",
  score: "Score",
  compared: "Compared",
  alignment: "Alignment",
  residual: "Residual",
  "expected-error": "Expected error",
  area: "Area",
  strength: "Strength",
  place: "Places",
  size: "Size",
  "zoom-to": "Zoom to difference {n}",
  "none-found": "Nothing found.",
  "none-differs": "Nothing differs.",
  decision: "Decision",
  Match: "Match",
  Similar: "Similar",
  "No match": "No match",
  distance: "Distance",
  "scale-match": "match",
  "scale-similar": "similar",
  "scale-no": "no match",
  "box-area": "Matched area",
  colors_one: "colour",
  colors_other: "colours",
  "copy-color": "Copy {name}",
  contours_one: "contour",
  contours_other: "contours",
  vertices_one: "{n} vertex",
  vertices_other: "{n} vertices",
  objects_one: "object",
  objects_other: "objects",
  labels_one: "label",
  labels_other: "labels",
  words_one: "word",
  words_other: "words",
  rotation: "Rotation",
  "text-language": "Language",
  confidence: "Confidence",
  provider: "Provider",
  model: "Model",
  "scores-classification":
    "Of labels that score 0.8, about 8 in 10 are right; a colour's score is the share of the picture that it fills.",
  "scores-objectDetection": "Of objects that score 0.8, about 8 in 10 are right.",
  "scores-model": "Scores are the model's own.",
  "scores-remote": "Scores are those of {name}.",
  "models-missing":
    "More would be found with these models: {names}. The command ltu-compute models install installs them.",
  "whole-text": "Text",
  "object-share": "Object",
  "edge-share": "Edge pixels",
  channel: "Channel",
  sharpness: "Sharpness (variance of the Laplacian)",
  "sharpness-sml": "Sharpness (modified Laplacian)",
  "verdict-sharp": "Sharp",
  "verdict-soft": "Slightly soft",
  "verdict-unsharp": "Unsharp",
  "verdict-flat": "Flat",
  blur: "Blur",
  unsharp: "1, unsharp",
  sharp: "0, sharp",
  noise: "Noise (σ of 255)",
  under: "Underexposed",
  over: "Overexposed",
  mean: "Mean luminance",
  deviation: "Deviation",
  histogram: "Histogram of luminance",
  "histogram-bin": "bin {n}: {value}",
  "heat-none": "few keypoints",
  "heat-most": "many keypoints",
  "matrix-1": "Image 1 → image 2",
  "matrix-2": "Image 2 → image 1",
  places_one: "place",
  places_other: "places",
  pictures_one: "{n} picture",
  pictures_other: "{n} pictures",
  roi: "Regions",
  "roi-help": "Where regions to compare are drawn, nothing else is compared.",
  "roi-compare": "Compare",
  "roi-ignore": "Ignore",
  "roi-compare-n": "Region {n}",
  "roi-ignore-n": "Ignored {n}",
  "roi-clear": "Clear",
  "roi-draw":
    "On {name}: drag a rectangle, or click the corners of a polygon and end with Enter or a double click. Esc stops.",
  "roi-corner": "Corner {n}. Arrow keys move it, Delete removes it.",
  "roi-middle": "Add a corner after corner {n}.",
  "roi-move": "{name}. Arrow keys move it, Delete removes it.",
  "roi-use": "Use",
  "roi-name": "Name",
  "roi-remove": "Remove: {name}",
  "roi-object": "Object",
  "roi-lost": "The regions belonged to {name} and went with it.",
  "roi-again": "Draw them on this reference",
  "report-title": "{operation}: report",
  "report-by": "Account: {name}",
  "report-more": "and {n} more",
  "report-version": "Service: LTU Compute {version}",
  named: "{name}: {value}",
  "byte-count_one": "{n} byte",
  "byte-count_other": "{n} bytes",
  "roi-compared": "Compared: {name}",
  "roi-ignored": "Ignored: {name}",
  yes: "yes",
  no: "no",
  "shown-first": "The first {n} of {m} are listed.",
  "#colorPalette": "Colour palette",
  "=fic_settings": "Fine settings",
  "=preset": "Sensitivity",
  "=color_space": "Colour space",
  "=mask_color": "Mask colour",
  "=method": "Alignment method",
  "=inliers": "Agreeing keypoints",
  "=residual_px": "Alignment residual",
  "=expected_error_px": "Expected error",
  "=bend_px": "Bend from flat",
  "=followed": "Alignment of",
  "=followed.none": "nothing",
  "=followed.region": "the region",
  "=followed.subject": "the part’s shape",
  "=followed.image": "the whole picture",
  "=displacement_x_px": "Displacement to the right",
  "=displacement_y_px": "Displacement down",
  "=turn_degrees": "Turn, degrees",
  "=scale": "Scale of the shot",
  "=behaviors": "Colour space",
  "=behaviors.RGB": "RGB",
  "=behaviors.HSV": "HSV",
  "=algorithm.SOBEL": "Closed outline",
  "=algorithm.BINNING": "Flat background",
  "=algorithm.OTSU_BIN_THRESHOLD": "Lighter or darker",
  "=algorithm.SALIENT": "Stands out to the eye",
  "=channel.": "Brightness",
  "=channel.V": "V",
  "=mask_type.none": "None",
  "=mask_type.binary": "Area",
  "=mask_type.contours": "Outline",
  "=language.": "All installed",
  "=model.": "The service's own",
  "=edge_thickness": "Width of edges",
  "=only_biggest": "Only the largest",
  "=threshold_min": "Lower threshold",
  "=threshold_max": "Upper threshold",
  "=mask_type": "Picture of differences",
  "=mask_thickness": "Width of outlines",
  "=min_score": "Least score",
  "=max_results": "Results at most",
  "algorithm?": "How the object differs from its background.",
  "color_space?": "Where Lighter or darker looks. G is grey, YRB is YCrCb.",
  "channel?": "Channel in which the object differs from the background.",
  "only_biggest?": "Keep only the largest object.",
  "edge_thickness?": "Width of the edges drawn, in px.",
  "fic_settings.behaviors?": "Colour space of the comparison.",
  "fic_settings.resolution?":
    "Longest side at which the pictures are compared, in px. More than 900 takes more time.",
  "mask_color?": "Colour of the outlines.",
  "mask_type?": "Drawn for each difference in the reply.",
  "tolerance?":
    "Share of the luminance range, at each end, that counts as underexposed and overexposed.",
  "model?": "Who recognises.",
  "language?": "Languages of the text.",
};

const TEXTS = { en: english, fr: french };
const KEPT = "ltu-compute-language";

/** @type {Language} */
let current = "en";

/** Take the language that was chosen before, else the browser's. */
export function startLanguage() {
  const kept = localStorage.getItem(KEPT);
  const wanted = kept ?? navigator.language;
  setLanguage(wanted.toLowerCase().startsWith("fr") ? "fr" : "en", kept !== null);
}

/**
 * @param {Language} language
 * @param {boolean} [keep]
 */
export function setLanguage(language, keep = true) {
  current = language;
  if (keep) localStorage.setItem(KEPT, language);
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(element.getAttribute("data-t") ?? "");
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.getAttribute("data-t-label") ?? ""));
  }
}

export function language() {
  return current;
}

/**
 * Return the page's words for a key; with `n`, those for that number.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const { n } = values;
  const texts = TEXTS[current];
  const form =
    typeof n === "number" && !(key in texts) ? new Intl.PluralRules(current).select(n) : "";
  const text = texts[key] ?? texts[`${key}_${form}`] ?? texts[`${key}_other`];
  if (text === undefined) throw new Error(`no words for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name] ?? "";
    return typeof value === "number" ? number(value) : value;
  });
}

/**
 * Return words for something that the service named, or null if the page has none.
 * @param {string} key
 * @returns {string | null}
 */
export function known(key) {
  return TEXTS[current][key] ?? null;
}

/**
 * Return a message of the service in the page's language, by its code; in English, or without
 * words for the code, it is the service's own.
 * @param {string} code
 * @param {string} message
 * @param {Record<string, string | number>} values
 */
export function translated(code, message, values) {
  if (!known(`!${code}`)) return message;
  return t(`!${code}`, values).replace(/^\s*:\s*/, ""); // of no parameter
}

/**
 * Return what something in a picture is called, by the service's name of it.
 * @param {string} name
 */
export function thing(name) {
  return known(`~${name}`) ?? name;
}

/**
 * Return the name of a language.
 * @param {string} code ISO 639-1, or another one
 */
export function languageName(code) {
  try {
    return new Intl.DisplayNames(current, { type: "language" }).of(code) ?? code;
  } catch (error) {
    if (error instanceof RangeError) return code; // not of ISO 639
    throw error;
  }
}

/**
 * Return names as a list in the page's language.
 * @param {string[]} names
 */
export function listed(names) {
  return new Intl.ListFormat(current).format(names);
}

/**
 * @param {number} value
 * @param {number} [digits] after the point, at the most
 */
export function number(value, digits = 2) {
  return new Intl.NumberFormat(current, { maximumFractionDigits: digits }).format(value);
}

/**
 * @param {number} share 0 to 1
 * @param {number} [digits]
 */
export function percent(share, digits = 1) {
  const style = { style: /** @type {const} */ ("percent"), maximumFractionDigits: digits };
  return new Intl.NumberFormat(current, style).format(share);
}

/**
 * Return a share of a picture; small ones with enough digits to differ from 0.
 * @param {number} share in percent
 */
export function areaWords(share) {
  return percent(share / 100, share < 0.01 ? 4 : 2);
}

/**
 * Return a number as a field shows it: whole, with the language's mark of decimals.
 * @param {number} value
 */
export function written(value) {
  return String(value).replace(".", current === "fr" ? "," : ".");
}

/**
 * Return the number that is written in a field, with a point or a comma.
 * @param {string} text
 * @returns {number | undefined} undefined: nothing is written; NaN: no number
 */
export function read(text) {
  const plain = text.replaceAll(/\s/g, "").replace(",", ".");
  if (plain === "") return undefined;
  return /^[-+]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : NaN;
}

/** @param {number} count */
export function bytes(count) {
  if (count < 1e3) return t("byte-count", { n: count });
  const [value, unit] = count < 1e6 ? [count / 1e3, "kB"] : [count / 1e6, "MB"];
  return `${number(value, value < 10 ? 1 : 0)} ${unit}`;
}
