/**
 * The page: what is chosen, what is given, what is asked, what is shown.
 * @module
 */
import { Abilities } from "./abilities.js";
import { Account } from "./account.js";
import { Api, Failure, Latest } from "./api.js";
import { Bench } from "./bench.js";
import { OPERATION } from "./comparison.js";
import { Counts } from "./counts.js";
import { deskOf } from "./desk.js";
import { byId, debounced, fill, h, replace, throttled } from "./dom.js";
import { Keeper } from "./keep.js";
import { listenToKeys } from "./keys.js";
import { language, listed, number as amount, setLanguage, startLanguage, t } from "./i18n.js";
import { button, Notice } from "./notice.js";
import { serviceOf } from "./operations.js";
import { Panel } from "./panel.js";
import { apart, failed, outcomeOfReply } from "./parts.js";
import { pictureOf, redrawn, release } from "./pictures.js";
import { showRail, titleOf } from "./rail.js";
import { infoOf, messageOf, resultOf, settingOf } from "./reply.js";
import { regionOf } from "./report.js";
import { Recipes } from "./recipes.js";
import { Session } from "./session.js";
import { Shots } from "./shots.js";
import { dropped } from "./sources.js";
import { firstAccount, offerSample } from "./start.js";
import { deskState, pictureEntries, restoreDesk, restoredPictures } from "./state.js";
import { Training } from "./train.js";
import { showNoMatch } from "./views/differences.js";
import { viewOf } from "./views/index.js";
import { hold } from "./views/over.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./operations.js").Operation} Operation */
/** @typedef {import("./pictures.js").Picture} Picture */

const DESCRIPTION = "/openapi.json";
const FETCH_PICTURE = "/analyze/picture";
const SHOT = 1; // place of the picture that is compared with the reference
const NO_MATCH = "images-do-not-match"; // code where no comparison was possible
const OBJECT_REGION = "/v1/recipes/regions/object";
const LOCAL_PROVIDERS = new Set(["Local", "Tesseract"]);
const KEEP_MS = 300; // without a change, until it is kept in the browser
const QUIET_MS = 180; // without a change, until something is computed
const MOVING_MS = 120; // between results while a slider is dragged, at the least
const THEME = "ltu-compute-theme";

startLanguage();
const keeper = new Keeper();
const [description, first, kept] = await Promise.all([
  fetch(DESCRIPTION),
  firstAccount(),
  keeper.open(),
]);
const service = serviceOf(await description.json());
const { operations } = service;
const session = new Session(service.tokenUrl, keeper.account);
const api = new Api(session);
const account = new Account(session, first);
const latest = new Latest();
const counts = new Counts(api);
const abilities = new Abilities(api, service.paths, operations);
const bench = new Bench(byId("bench"));
const details = h("div", { class: "details", role: "group" });
const notice = new Notice(bench.notice, () => run(true));
const shots = new Shots(api, {
  signedIn: async (reason) => session.open || Boolean(await account.signIn(reason)),
  hint: (words) => replace(bench.remark, h("p", {}, words)),
  look: async (file) => {
    const picture = file && (await pictureOf(file, file.name));
    if (shots.shown !== file) release(picture); // another one was chosen meanwhile
    else if (desk.slots.length > SHOT) {
      if (stepped) for (const pane of [...bench.panes, bench.over]) pane.fit(false);
      stepped = false;
      give(picture, SHOT);
    }
    else {
      release(pictures[SHOT]);
      pictures[SHOT] = picture; // another operation is shown, of one picture
      shots.staged(picture?.blob);
    }
  },
  changed: () => keepLater(),
  about: ({ form, judging, region }) => [
    [t("limits"), Object.entries(judging.limits).map(([name, most]) => `${t(name)} ≤ ${amount(most, 3)}`).join(", ") || t("limits-none")],
    [t("settings"), form.effective().filter(([name, value]) => value !== "" && /^(preset|fic_)/.test(name)).map(([name, value]) => settingOf(name.split(".").pop() ?? name, value)).join(", ")],
    ...regionOf(region),
  ],
});
shots.restore(kept, /** @type {Blob | undefined} */ (kept[`picture-${SHOT}`]));
const recipes = new Recipes(api, {
  signedIn: async () => session.open || Boolean(await account.signIn()),
  refer: async (file) => give(await pictureOf(file, file.name), 0),
  used: () => {
    panel.show(desk);
    changed();
  },
});
const panel = new Panel({
  run: () => run(true),
  takeObject: service.paths[OBJECT_REGION]?.post ? takeObject : null,
  account: () => session.name,
  session,
  shots: (chosen) => shots.section(chosen, service.paths),
  recipes: (chosen) => recipes.section(chosen, service.paths),
  judges: ({ name }) => name === OPERATION,
  judgingChanged: () => {
    showReply();
    shots.show(); // all are judged again
    recipes.show(); // it may differ now
    changed();
  },
  forget: startAnew,
});
const training = new Training(service.paths);
const runSoon = debounced(() => run(), QUIET_MS);
const runOften = throttled(() => run(false, true), MOVING_MS);

/** @type {(Picture | undefined)[]} by place; the same for all operations */
const pictures = await restoredPictures(kept);
/** @type {Map<string, Desk>} */
const desks = new Map();
/** @type {Record<string, import("./state.js").DeskState>} of operations not chosen since the page was loaded */
let waiting = /** @type {any} */ (kept.desks ?? {});
/** @type {Desk} the one in use */
let desk;
let stepped = false; // whether a key has zoomed to a difference: another part is seen whole

// ---------------------------------------------------------------------------- operations

/**
 * Take an operation to hand.
 * @param {string} name if there is none of this name, the page's first one
 */
async function choose(name) {
  const trains = training.offers(name);
  byId("bench").hidden = byId("panel").hidden = trains;
  training.show(trains);
  if (trains) {
    latest.cancel();
    desk ??= await deskOf(operations[0], pictures, acts); // for what the page does at any time
    showTraining();
    return;
  }
  const named = (/** @type {string} */ wanted) => operations.find((each) => each.name === wanted);
  const operation = named(name) ?? named(OPERATION) ?? operations[0];
  const chosen = desks.get(operation.name) ?? (await deskOf(operation, pictures, acts));
  if (location.hash.slice(1) !== name) return; // another one was chosen meanwhile
  desks.set(operation.name, chosen);
  desk = chosen;
  latest.cancel();
  working(false);
  const state = waiting[operation.name];
  delete waiting[operation.name];
  if (state) restoreDesk(chosen, state);
  showDesk();
  state?.looks?.forEach((look, index) => look && chosen.slots[index]?.pane.follow(look));
  if (state?.regions.length && pictures[0]?.width) await chosen.region?.load(state.regions);
  runLater();
}

// ------------------------------------------------------------------------- what is kept

const keepSoon = debounced(keep, KEEP_MS);
let keeping = 0; // writes that were begun and are not over

/** Keep everything in the browser once changes have ceased for a while. */
function keepLater() {
  keepSoon();
  showKeeping();
}

/** Keep everything in the browser, as it is now. */
async function keep() {
  keepSoon.cancel();
  keeping += 1;
  try {
    await keepNow();
  } finally {
    keeping -= 1;
    showKeeping();
  }
}

/** Mark the line about what is kept busy until the last change is kept. */
function showKeeping() {
  panel.kept.setAttribute("aria-busy", String(keeping > 0 || keepSoon.pending()));
}

async function keepNow() {
  const states = [...desks].map(([name, each]) => [name, deskState(each)]);
  await keeper.keep({
    desks: { ...waiting, ...Object.fromEntries(states) },
    ...pictureEntries(pictures),
    ...shots.entries,
  });
  panel.showKept(keeper);
}

/** Forget everything, here and in the browser. */
async function startAnew() {
  latest.cancel();
  runSoon.cancel();
  pictures.forEach(release);
  pictures.length = 0;
  desk.reply = null;
  showReply();
  desks.clear();
  shots.clear();
  recipes.forget();
  waiting = {};
  await keeper.forget();
  await choose(location.hash.slice(1));
  panel.showKept(keeper);
}

async function takeAccount() {
  const { name } = session;
  const other = keeper.account !== "" && name !== "" && name !== keeper.account;
  keeper.account = name || keeper.account;
  keeper.paused = false;
  if (other) await startAnew(); // what another account left is nobody's here
  keepLater();
}

/** @type {Parameters<typeof deskOf>[2]} */
const acts = {
  changed,
  region: {
    changed: () => {
      panel.showRegion(desk);
      panel.showActions(desk);
      changed();
    },
    shown: () => panel.showRegion(desk),
    lost: ({ name }, fits) => {
      const again = button("roi-again", () => {
        replace(bench.remark);
        desk.region?.restore();
      });
      fill(bench.remark, h("p", {}, t("roi-lost", { name })), fits && again);
    },
  },
  giving: (index) => ({
    files: (files) => giveFiles(files, index),
    dropped: (transfer) => giveDropped(transfer, index),
    address: (address) => giveAddress(address, index),
    removal: () => give(undefined, index),
  }),
};

function showTraining() {
  showRail(operations, training.name, training.names);
  document.title = `${t("train")} – LTU Compute`;
  byId("here").textContent = t("train");
  training.render();
}

function showDesk() {
  const { operation, slots, region } = desk;
  replace(bench.remark);
  showRail(operations, operation, training.names);
  document.title = `${titleOf(operation)} – LTU Compute`;
  byId("here").textContent = titleOf(operation);
  region?.detach();
  bench.place(slots);
  slots.forEach((slot, index) => slot.show(pictures[index]));
  if (pictures[0]?.width) region?.attach(pictures[0]);
  else region?.forget();
  desk.forgetOthers();
  clearProblems();
  showStart();
  panel.show(desk);
  showReply();
}

function showStart() {
  const empty = desk.slots.every((_, index) => !pictures[index]);
  offerSample(bench.start, empty ? desk.slots.length : 0, {
    give: (files) => giveFiles(files, 0),
    fail: () => notice.tell(t("error-offline-long")),
  });
}

// ------------------------------------------------------------------------------ pictures

/**
 * @param {File[]} files
 * @param {number} index of the place of the first
 */
async function giveFiles(files, index) {
  const room = desk.slots.length - index;
  const last = index === desk.slots.length - 1;
  if (shots.offered && files.length > room) shots.takeFolder(files);
  else if (shots.offered && shots.parts.length > 0 && last) shots.takeNext(files[0]);
  else await put(files, index);
}

/**
 * Put files into places; what finds none is named.
 * @param {File[]} files
 * @param {number} index of the place of the first
 */
async function put(files, index) {
  const taken = files.slice(0, Math.max(desk.slots.length - index, 1));
  const left = files.slice(taken.length).map((file) => file.name);
  const given = await Promise.all(taken.map((file) => pictureOf(file, file.name)));
  given.forEach((picture, offset) => give(picture, index + offset));
  if (left.length) fill(bench.remark, h("p", {}, t("left-out", { names: left.join(", ") })));
}

/**
 * @param {string} address
 * @param {number} index
 */
async function giveAddress(address, index) {
  const slot = desk.slots[index];
  const body = new URLSearchParams({ url: address });
  try {
    const answer = await api.ask(FETCH_PICTURE, { method: "POST", body });
    const [path] = address.split(/[?#]/);
    const name = path.slice(path.lastIndexOf("/") + 1) || "picture";
    give(await pictureOf(await answer.blob(), name, address), index);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.kind !== "expired") {
      slot.tell(`${t("fetch-failed")} ${error.message || t("error-offline-long")}`);
    } else if (await account.signIn()) {
      await giveAddress(address, index);
    }
  }
}

/**
 * Put a picture into a place, or take away the one that is there.
 * @param {Picture | undefined} picture
 * @param {number} index
 */
function give(picture, index) {
  const before = pictures[index];
  pictures[index] = picture;
  replace(bench.remark);
  const { slots, region } = desk;
  const focused = slots[index].element.contains(document.activeElement);
  latest.cancel();
  counts.cancel();
  working(false);
  if (index === 0) {
    region?.detach();
    for (const pane of [...bench.panes, bench.over]) pane.fit(false); // another subject: seen whole
  }
  slots[index].show(picture);
  if (index === 0 && picture?.width) region?.attach(picture);
  else if (index === 0) region?.forget();
  if (focused) slots[index].focus();
  release(before);
  if (index === SHOT) shots.staged(picture?.blob);
  if (index === SHOT && picture?.unreadable) shots.record(picture.blob, failed(t(`file-${picture.unreadable}`)));
  showStart();
  desk.memo.selected = -1;
  for (const each of desks.values()) counts.forget(each);
  desk.forgetOthers();
  if (index === 0) panel.show(desk); // else what has the focus there keeps it
  else recipes.show();
  showReply();
  changed();
}

/** Return the place that the next picture goes to: the first free one, else that of the shot. */
function nextPlace() {
  const free = desk.slots.findIndex((_, index) => !pictures[index]);
  return free < 0 ? desk.slots.length - 1 : free;
}

/**
 * Take what is dropped anywhere but on a place for a picture.
 * @param {DragEvent} event
 */
function takeDrop(event) {
  event.preventDefault(); // a miss opens no file
  document.body.classList.remove("dropping");
  if (training.shown) training.add([...(event.dataTransfer?.files ?? [])]);
  else giveDropped(event.dataTransfer, nextPlace());
}

/**
 * @param {DataTransfer | null} transfer
 * @param {number} index of the place of the first picture
 */
async function giveDropped(transfer, index) {
  const address = transfer?.getData("text/uri-list").split("\n")[0].trim() ?? "";
  const { files, folder } = await dropped(transfer);
  if (folder && shots.offered) shots.takeFolder(files);
  else if (files.length) await giveFiles(files, index);
  else if (address) await giveAddress(address, index);
}

/** @param {ClipboardEvent} event */
function takePaste(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (training.shown) {
    training.add(files);
    return;
  }
  const index = nextPlace();
  if (files.length) {
    event.preventDefault();
    giveFiles(files, index);
    return;
  }
  const text = event.clipboardData?.getData("text/plain").trim() ?? "";
  const typing = event.target instanceof Element && event.target.closest("input, textarea");
  if (!typing && /^https?:\/\/\S+$/.test(text)) giveAddress(text, index);
}

/** Draw a region around the object in the first picture. */
async function takeObject() {
  const [picture] = pictures;
  const { region } = desk;
  if (!picture || !region || (!session.open && !(await account.signIn()))) return;
  const body = new FormData();
  body.append("reference", picture.blob, picture.name);
  working(true);
  running += 1;
  showBusy();
  try {
    const { polygon } = await (await api.ask(OBJECT_REGION, { method: "POST", body })).json();
    if (picture === pictures[0]) await region.add({ name: t("roi-object"), polygon });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    notice.tell(error.kind === "offline" ? t("error-offline-long") : "", error.message);
  } finally {
    working(false);
    running -= 1;
    showBusy();
  }
}

// ------------------------------------------------------------------------------- running

/** @param {boolean} [moving] whether a slider is being dragged */
function changed(moving = false) {
  if (!moving && shots.parts.length > 0) shots.show(); // verdicts may be of other settings now
  keepLater();
  notice.retries = 0;
  if (!moving) return runLater();
  runOften();
  showBusy();
}

/** Compute once changes have ceased for a while. */
function runLater() {
  runSoon();
  showBusy();
}

let running = 0; // requests that were begun and are not over

/**
 * @param {boolean} [asked] whether the user has said so
 * @param {boolean} [moving] whether this is a step of a slider that is being dragged
 */
async function run(asked = false, moving = false) {
  runSoon.cancel();
  running += 1;
  try {
    await runNow(asked, moving);
  } finally {
    running -= 1;
    showBusy();
  }
}

/** Mark the bench busy while a result is pending: for screen readers and tests. */
function showBusy() {
  const busy = running > 0 || runSoon.pending() || runOften.pending();
  byId("bench").setAttribute("aria-busy", String(busy));
}

/**
 * @param {boolean} asked
 * @param {boolean} moving
 */
async function runNow(asked, moving) {
  notice.hold();
  const now = desk;
  const { missing } = now;
  if (!asked && !session.open && now.subject.trim()) {
    notice.tell(t("sign-in-first"), "", button("sign-in", () => account.signIn()));
    return;
  }
  if (missing.length) {
    if (asked) notice.tell(t("need-picture", { n: missing.length, names: listed(missing) }));
    return;
  }
  if (!asked && (now.signature === now.answered || !now.live)) return;
  if (!session.open && !(await account.signIn())) return;
  working(true);
  const { signature, subject, request } = now;
  const values = structuredClone(request.values); // those that the answer is said to be of
  const [reference, shot] = now.pictures;
  const sent = { shot: shot?.blob, under: shots.under };
  try {
    const reply = await latest.run(
      (signal) => api.run(now.operation, values, request.pictures, signal),
      moving,
    );
    if (reply === undefined) return;
    working(false);
    notice.retries = 0;
    Object.assign(now, { reply, answered: signature, seen: subject });
    if (LOCAL_PROVIDERS.has(infoOf(reply).provider)) now.memo.local = now.provider;
    clearProblems();
    await showReply();
    if (now.operation.name === OPERATION && reference && shot) {
      shots.record(sent.shot, outcomeOfReply(reply, reference, shot), sent.under);
    }
    counts.ask(now);
  } catch (error) {
    working(false);
    if (!(error instanceof Failure)) throw error;
    now.answered = "";
    explain(error, sent);
  }
}

/** @param {boolean} yes */
function working(yes) {
  bench.progress.hidden = !yes;
}

let showing = 0; // which reply

async function showReply() {
  const { reply, view, memo, slots, rules } = desk;
  const number = ++showing;
  const current = () => number === showing;
  hold();
  bench.fitStage();
  panel.showActions(desk);
  const shot = pictures[slots.length - 1];
  if (!reply && shot?.width && !desk.missing.length && desk.live && session.open) {
    bench.wait(shot); // for the next reply, in the view that there is
    details.inert = true;
    return;
  }
  const prepared = reply && view.prepare && (await view.prepare(reply));
  if (!current()) return;
  bench.clear();
  replace(details);
  details.inert = false;
  if (!reply) return;
  await view.show({
    reply,
    result: resultOf(reply),
    info: infoOf(reply),
    pictures: slots.map((_, index) => /** @type {Picture} */ (pictures[index])),
    panes: bench.panes,
    bench,
    details,
    current,
    memo,
    rules,
    prepared,
  });
  if (!current()) return;
  const reachable = details.querySelector("button, a, input, summary");
  if (reachable) details.removeAttribute("tabindex");
  else details.tabIndex = 0; // so that the keyboard scrolls it
  details.setAttribute("aria-label", t("details"));
  const headline = bench.readout.querySelector(".headline")?.textContent;
  byId("said").textContent = headline ?? messageOf(reply);
  const page = document.documentElement.dataset;
  page.shown = String(Number(page.shown ?? 0) + 1); // for those who wait for it
}

// -------------------------------------------------------------------------------- errors

/**
 * Say what is wrong where it is wrong, and how to go on.
 * @param {Failure} failure
 * @param {{shot: Blob | undefined, under: string}} sent what the request was about
 */
async function explain({ kind, message, problems, retryAfter, code }, { shot, under }) {
  if (!desk.reply) {
    bench.clear(); // what was awaited does not come
    replace(details);
    details.inert = false;
  }
  byId("bench").classList.add("stale");
  const again = () => button("try-again", () => run(true));
  if (kind === "expired") {
    const enter = async () => {
      if (await account.signIn(t("session-expired"))) run(true);
    };
    notice.tell(t("error-expired"), "", button("sign-in", enter)); // the token's error helps nobody
    await enter();
    return;
  }
  if (kind === "offline" || kind === "busy") {
    notice.comeBack(kind, retryAfter, message);
    return;
  }
  const sentence = kind === "refused" ? "" : t(`error-${kind}`);
  if (desk.operation.name === OPERATION && code === NO_MATCH) {
    clearProblems();
    shots.record(shot, apart(), under);
    showNoMatch(bench);
    byId("said").textContent = bench.readout.textContent;
    return;
  }
  const ofShot = problems.some(({ parameter }) => parameter === desk.slots.at(-1)?.field.name);
  if (desk.operation.name === OPERATION && (ofShot || kind === "format")) shots.record(shot, failed(message), under);
  const elsewhere = desk.form.tell(problems);
  const ofAll = (/** @type {string} */ text) =>
    desk.slots.length > 1 && desk.slots.every(({ field }) => text.includes(field.name));
  const unplaced = elsewhere.filter(({ parameter, message: text }) => {
    if (ofAll(text)) return true; // about the pair, not about one of its pictures
    const index = desk.slots.findIndex(({ field }) => field.name === parameter);
    if (index >= 0) desk.slots[index].tell(`${sentence} ${text}`, ...waysOn(kind, index));
    return index < 0;
  });
  if (unplaced.length) {
    notice.tell(sentence, unplaced.map((problem) => problem.message).join("; "));
  } else if (elsewhere.length < problems.length) {
    notice.tell(t("see-settings"));
  } else if (!problems.length) {
    const mayPass = kind === "fault" ? [again()] : []; // the same request is refused again
    notice.tell(sentence, message, ...waysOn(kind, largest()), ...mayPass);
  }
  byId("said").textContent = `${t("failed")}. ${message}`;
}

/** Return the place of the picture that takes most bytes. */
function largest() {
  const sizes = pictures.map((picture) => picture?.blob.size ?? 0);
  return sizes.indexOf(Math.max(...sizes));
}

/**
 * Return what can be done about a picture that the service does not take.
 * @param {import("./api.js").Kind} kind
 * @param {number} index
 */
function waysOn(kind, index) {
  const picture = pictures[index];
  if (!picture?.width) return [];
  if (kind === "too-large") {
    return [button("halve", async () => give(await redrawn(picture, 0.5, "image/jpeg"), index))];
  }
  if (kind === "format") {
    return [button("convert", async () => give(await redrawn(picture, 1, "image/png"), index))];
  }
  return [];
}

function clearProblems() {
  notice.clear();
  desk.form.tell([]);
  for (const slot of desk.slots) slot.tell(null);
  byId("bench").classList.remove("stale");
}

// --------------------------------------------------------------------------------- start

function startPreferences() {
  const theme = /** @type {HTMLSelectElement} */ (byId("theme"));
  const languages = /** @type {HTMLSelectElement} */ (byId("language"));
  const wear = () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  };
  theme.value = localStorage.getItem(THEME) ?? "";
  wear();
  theme.addEventListener("change", () => {
    localStorage.setItem(THEME, theme.value);
    wear();
  });
  languages.value = language();
  languages.addEventListener("change", () => {
    setLanguage(languages.value === "fr" ? "fr" : "en");
    account.show();
    bench.over.translate();
    for (const { form, slots } of desks.values()) {
      form.render();
      for (const { pane } of slots) pane.translate();
    }
    if (training.shown) showTraining();
    else showDesk();
    if (!training.shown && !desk.reply) runLater(); // what was said of a failure is said again
  });
}

/**
 * Go to the next difference or to the one before.
 * @param {1 | -1} direction
 */
function step(direction) {
  const entries = [...details.querySelectorAll(".found button")];
  const last = desk.memo.selected ?? -1;
  const next = last < 0 && direction < 0 ? entries.length - 1 : last + direction;
  const entry = entries[next];
  if (training.shown) return;
  if (!(entry instanceof HTMLElement) || !desk.reply || shots.coming) {
    if (shots.offered) shots.step(direction); // after the last difference, the next part
    return;
  }
  entry.click();
  stepped = true;
  entry.scrollIntoView({ block: "nearest" });
}

/** Offer in forms what this account can use. */
async function learn() {
  const place = byId("panel");
  place.setAttribute("aria-busy", "true");
  const changed = await abilities.learn();
  for (const operation of changed) desks.get(operation.name)?.form.render();
  if (changed.has(desk.operation)) panel.show(desk); // else what is being typed stays
  place.setAttribute("aria-busy", "false");
  if (!session.open) account.signIn(t("error-expired")); // the token is not one
  else if (changed.size) runLater();
}

function startListening() {
  session.addEventListener("change", () => {
    if (!session.open) return;
    notice.clear(); // whatever asked to sign in
    learn();
    takeAccount();
    shots.resume();
    recipes.signedIn();
    runLater();
  });
  session.addEventListener("signout", () => {
    keeper.paused = true;
    keeper.forget();
    panel.showKept(keeper);
  });
  for (const name of ["click", "input", "change", "keyup", "pointerup"]) {
    document.addEventListener(name, keepLater);
  }
  addEventListener("pagehide", () => keepSoon.pending() && keep());
  addEventListener("hashchange", () => choose(location.hash.slice(1)));
  addEventListener("online", () => notice.retries && run(true));
  document.addEventListener("paste", takePaste);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    const { types } = event.dataTransfer ?? {};
    const holds = types?.includes("Files") || types?.includes("text/uri-list");
    document.body.classList.toggle("dropping", Boolean(holds));
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping"); // out of the window
  });
  document.addEventListener("drop", takeDrop);
  listenToKeys({
    n: () => step(1),
    p: () => step(-1),
    o: () => training.shown || shots.decide("OK"),
    x: () => training.shown || shots.decide("NG"),
  });
  document.addEventListener("keydown", (event) => {
    if (training.shown) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(true);
  });
}

for (const name of ["pointerdown", "wheel"]) {
  bench.row.addEventListener(name, () => (stepped = false), { passive: true }); // the view is the user's own
}
byId("bench").append(details);
bench.start.after(shots.bar);
startPreferences();
await choose(location.hash.slice(1));
startListening();
panel.showKept(keeper);
document.documentElement.dataset.ready = "";
if (!training.shown) account.signIn(pictures.length ? t("session-reloaded") : "");
// All views, so that no operation has to wait for its own, or lacks it when the connection is lost.
await Promise.all(operations.map(({ name }) => viewOf(name)));
