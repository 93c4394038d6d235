/**
 * The page's memory in the browser: a reload or a crash loses nothing but the password.
 *
 * Everything is in one IndexedDB store under names; it stays on this machine. It is bounded in bytes
 * and days, and gone when the user says so, signs out, or another account signs in.
 * @module
 */

const DATABASE = "ltu-compute";
const STORE = "kept"; // entries by the id of their tab and their name
const ABOUT = "about"; // name of the entry about the others of a tab
const FORM = 1; // of the entries: those of another one are not read
const TAB = "ltu-compute-tab"; // id of a tab, for as long as it is open
const LEAVING_MS = 1000; // for the page that is being left to let go of its tab
const ANSWER_MS = 150; // for other tabs to say that they are open
const MOST_BYTES = 512e6; // of files together
const MOST_DAYS = 30; // without a change
const DAY_MS = 86_400_000;

/** @typedef {{at: number, account: string, form: number}} About */
/** @typedef {Record<string, unknown>} Entries by name; a Blob is a file */

export class Keeper {
  constructor() {
    /** @type {IDBDatabase | null} null: the browser keeps nothing */
    this.database = null;
    /** @type {Map<string, unknown>} what was written last, so that it is not written again */
    this.written = new Map();
    this.tab = "";
    this.account = "";
    this.paused = false;
    /** Whether there was no room for all. */
    this.full = false;
    /** @type {Promise<void>} */
    this.writing = Promise.resolve();
  }

  /**
   * Open the store and return what it keeps of this tab, or of the last one that was closed.
   * @returns {Promise<Entries>}
   */
  async open() {
    let database;
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      database = await done(request);
    } catch (error) {
      if (error instanceof DOMException) return {}; // private windows of some browsers
      throw error;
    }
    this.database = database;
    database.onversionchange = () => { // another page deletes or changes the store: it must not wait
      this.database?.close();
      this.database = null;
    };
    const claim = navigator.locks ? locked : await asked();
    const own = sessionStorage.getItem(TAB) ?? "";
    let taken = own && (await claim(own, LEAVING_MS)) ? own : "";
    for (const tab of await newest(database)) {
      if (tab === own) continue; // it is this tab's or that of its copy
      const release = await claim(tab);
      if (!release) continue; // it is open
      if (taken) {
        await done(stored(database).delete(within(tab))); // that was closed before the last
        release();
      } else taken = tab;
    }
    const entries = await entriesOf(database, taken);
    const known = /** @type {About | undefined} */ (entries[ABOUT]);
    const fits = known?.form === FORM && Date.now() - known.at < MOST_DAYS * DAY_MS;
    if (taken && !fits) await done(stored(database).delete(within(taken)));
    this.tab = taken || newId();
    if (!taken) await claim(this.tab);
    sessionStorage.setItem(TAB, this.tab);
    if (!fits) return {};
    this.account = known.account;
    this.written = new Map(Object.entries(entries).map(([name, value]) => [name, signed(value)]));
    return entries;
  }

  /** Return how many bytes of files are kept. */
  get bytes() {
    const sizes = [...this.written.values()].map((value) => (value instanceof Blob ? value.size : 0));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  /**
   * Keep these entries, and no other; one after the other call.
   * @param {Entries} entries the most important files first: those beyond the bound are left out
   */
  keep(entries) {
    this.writing = this.writing.then(() => this.#write(entries));
    return this.writing;
  }

  /** @param {Entries} entries */
  async #write(entries) {
    if (!this.database || this.paused) return;
    const { kept, full } = bounded(entries);
    const changed = [...kept].filter(([name, value]) => this.written.get(name) !== signed(value));
    const gone = [...this.written.keys()].filter((name) => name !== ABOUT && !kept.has(name));
    if (!changed.length && !gone.length) return;
    const transaction = this.database.transaction(STORE, "readwrite");
    const store = transaction.objectStore(STORE);
    for (const name of gone) store.delete(`${this.tab}/${name}`);
    for (const [name, value] of changed) store.put(value, `${this.tab}/${name}`);
    /** @type {About} */
    const about = { at: Date.now(), account: this.account, form: FORM };
    store.put(about, `${this.tab}/${ABOUT}`);
    transaction.commit(); // so that it is kept where the page goes now
    try {
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "QuotaExceededError") throw error;
      this.full = true; // the browser has less room
      return;
    }
    this.full = full;
    for (const name of gone) this.written.delete(name);
    for (const [name, value] of changed) this.written.set(name, signed(value));
  }

  async forget() {
    await this.writing;
    this.written.clear();
    this.full = false;
    if (!this.database) return;
    await done(stored(this.database).delete(within(this.tab)));
  }
}

function newId() {
  return String(Math.random()).slice(2);
}

/**
 * Return the keys of all entries of a tab.
 * @param {string} tab
 */
function within(tab) {
  return IDBKeyRange.bound(`${tab}/`, `${tab}/\uffff`);
}

/**
 * Return the ids of all tabs of which something is kept, the one that was changed last first.
 * @param {IDBDatabase} database
 */
async function newest(database) {
  const store = database.transaction(STORE).objectStore(STORE);
  const ids = new Set((await done(store.getAllKeys())).map((key) => String(key).split("/")[0]));
  const changed = await Promise.all(
    [...ids].map(async (tab) => ({ tab, at: (await done(store.get(`${tab}/${ABOUT}`)))?.at ?? 0 })),
  );
  return changed.sort((one, other) => other.at - one.at).map(({ tab }) => tab);
}

/**
 * @param {IDBDatabase} database
 * @param {string} tab
 * @returns {Promise<Entries>}
 */
async function entriesOf(database, tab) {
  const store = database.transaction(STORE).objectStore(STORE);
  const [keys, values] = await Promise.all([done(store.getAllKeys(within(tab))), done(store.getAll(within(tab)))]);
  return Object.fromEntries(keys.map((key, at) => [String(key).split("/")[1], values[at]]));
}

/** @param {IDBDatabase} database */
function stored(database) {
  return database.transaction(STORE, "readwrite").objectStore(STORE);
}

/**
 * Makes a tab this page's own, unless an open page has it: returns what lets go of it, or null.
 * @typedef {(tab: string, patience?: number) => Promise<(() => void) | null>} Claim
 */

/**
 * Claim a tab by a lock, which the browser keeps until the page is closed or left.
 * @type {Claim}
 */
function locked(tab, patience = 0) {
  const giving = new AbortController();
  if (patience) setTimeout(() => giving.abort(), patience);
  const options = patience ? { signal: giving.signal } : { ifAvailable: true };
  return new Promise((resolve, reject) => {
    const held = (/** @type {Lock | null} */ lock) => {
      if (!lock) return resolve(null);
      return new Promise((release) => resolve(() => release(undefined)));
    };
    navigator.locks.request(`${TAB}/${tab}`, options, held).catch((error) => {
      if (error.name === "AbortError") resolve(null);
      else reject(error);
    });
  });
}

/**
 * Ask other pages for their tabs, where the browser has no locks: it gives them to pages of https and
 * of this machine only. A page that does not answer within `ANSWER_MS` is taken for closed.
 * @returns {Promise<Claim>}
 */
async function asked() {
  /** @type {Set<string>} */
  const open = new Set();
  const [others, own] = [new BroadcastChannel(TAB), new Set()];
  others.onmessage = ({ data }) => {
    if (data.here) open.add(data.here);
    if (data.asked) for (const here of own) others.postMessage({ here });
  };
  others.postMessage({ asked: true });
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  return async (tab) => {
    if (open.has(tab)) return null;
    own.add(tab);
    return () => own.delete(tab);
  };
}

/**
 * Return the entries whose files fit the bound.
 * @param {Entries} entries
 */
function bounded(entries) {
  /** @type {Map<string, unknown>} */
  const kept = new Map();
  let bytes = 0;
  let full = false;
  for (const [name, value] of Object.entries(entries)) {
    if (value === undefined) continue;
    const size = value instanceof Blob ? value.size : 0;
    if (bytes + size > MOST_BYTES) full = true;
    else {
      bytes += size;
      kept.set(name, value);
    }
  }
  return { kept, full };
}

/**
 * Return a key of a value: the file itself, or the text of anything else.
 * @param {unknown} value
 */
function signed(value) {
  return value instanceof Blob ? value : JSON.stringify(value, (_, each) => (each instanceof Map ? [...each] : each));
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
