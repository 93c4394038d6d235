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
    const others = await openTabs();
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      const database = await done(request);
      database.onversionchange = () => { // another page deletes or changes the store: it must not wait
        database.close();
        this.database = null;
      };
      this.database = database;
    } catch (error) {
      if (error instanceof DOMException) return {}; // private windows of some browsers
      throw error;
    }
    const store = this.database.transaction(STORE, "readwrite").objectStore(STORE);
    const [keys, values] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
    /** @type {Map<string, Entries>} */
    const tabs = new Map();
    keys.forEach((key, at) => {
      const [tab, name] = String(key).split("/");
      tabs.set(tab, { ...tabs.get(tab), [name]: values[at] });
    });
    const about = (/** @type {string} */ tab) => /** @type {About | undefined} */ (tabs.get(tab)?.[ABOUT]);
    const free = [...tabs.keys()]
      .filter((tab) => !others.has(tab))
      .sort((one, other) => (about(other)?.at ?? 0) - (about(one)?.at ?? 0));
    const own = sessionStorage.getItem(TAB) ?? "";
    const [taken = ""] = free.includes(own) ? [own] : own && !others.has(own) ? [] : free;
    const known = about(taken);
    const fits = known?.form === FORM && Date.now() - known.at < MOST_DAYS * DAY_MS;
    this.tab = fits ? taken : newId();
    sessionStorage.setItem(TAB, this.tab);
    answerOthers(this.tab);
    const old = free.filter((tab) => tab !== this.tab); // of tabs that were closed before the last
    await Promise.all(old.map((tab) => done(store.delete(within(tab)))));
    const entries = fits ? (tabs.get(taken) ?? {}) : {};
    this.account = fits && known ? known.account : "";
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
    const store = this.database.transaction(STORE, "readwrite").objectStore(STORE);
    await done(store.delete(within(this.tab)));
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
 * Ask which other tabs of the page are open.
 * @returns {Promise<Set<string>>} their ids
 */
async function openTabs() {
  /** @type {Set<string>} */
  const open = new Set();
  const channel = new BroadcastChannel(TAB);
  channel.onmessage = ({ data }) => data.here && open.add(data.here);
  channel.postMessage({ asked: true });
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  channel.close();
  return open;
}

/** @param {string} tab */
function answerOthers(tab) {
  const channel = new BroadcastChannel(TAB);
  channel.onmessage = ({ data }) => data.asked && channel.postMessage({ here: tab });
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
