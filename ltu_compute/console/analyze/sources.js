/**
 * Sources of shots: files, folders, a folder that is watched, a camera.
 * @module
 */
import { h } from "./dom.js";

const PICTURE = /\.(jpe?g|png|gif|webp|avif|bmp|tiff?|hei[cf])$/i;
const WATCH_MS = 1000; // between two looks at a folder
const LOOKS_MISSED = 10; // one after the other, before a folder is lost
const LOOKS_UNENDED = 10; // at a file that lacks its end, before it is given as it is
const QUALITY = 0.95; // of a camera's JPEG
const CHOSEN = "ltu-compute-camera"; // id of the camera that was chosen last

/**
 * Return whether a file is meant as a picture: folders hold other things, too.
 * @param {File} file
 */
export function isPicture({ name, type }) {
  return !name.startsWith(".") && (type.startsWith("image/") || PICTURE.test(name));
}

/**
 * Return the files that are dropped, those of folders by their paths.
 * @param {DataTransfer | null} transfer
 * @returns {Promise<{files: File[], folder: boolean}>}
 */
export async function dropped(transfer) {
  const plain = [...(transfer?.files ?? [])]; // it is empty once the event is over
  const entries = [...(transfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.() ?? null);
  const folder = entries.some((entry) => entry?.isDirectory);
  if (!folder) return { files: plain, folder };
  const lists = await Promise.all(entries.map((entry) => (entry ? within(entry) : [])));
  return { files: sorted(lists.flat()), folder };
}

/**
 * Return files in the order of their names, numbers by their value.
 * @param {File[]} files
 */
export function sorted(files) {
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  return [...files].sort((one, other) => compare(one.webkitRelativePath || one.name, other.webkitRelativePath || other.name));
}

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<File[]>}
 */
async function within(entry) {
  if (entry.isFile) {
    const { file } = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((resolve, reject) => file.call(entry, resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break; // it gives a hundred at a time
    for (const each of some) found.push(...(await within(each)));
  }
  return found;
}

/** Return whether the browser can watch a folder. */
export function canWatch() {
  return "showDirectoryPicker" in window;
}

/** Return whether the browser has a camera for this page. */
export function hasCamera() {
  return Boolean(navigator.mediaDevices?.getUserMedia);
}

/**
 * @typedef {object} Seen of a file in a folder that is watched
 * @property {number} size
 * @property {number} at when it was changed last
 * @property {number} looks that found it as it is
 * @property {boolean} given
 */

/**
 * Give each picture that appears in a folder, once it is written whole, the oldest first.
 * @param {any} folder a FileSystemDirectoryHandle
 * @param {(file: File) => void} give
 * @param {AbortSignal} signal
 * @param {Map<string, Seen>} known files by name; empty: what is there now is not given
 * @returns {Promise<void>} resolved when it is over; rejected when the folder is gone
 */
export async function watchFolder(folder, give, signal, known) {
  let first = known.size === 0;
  for (let missed = 0; !signal.aborted; ) {
    try {
      for (const file of await changedIn(folder, known, first)) if (!signal.aborted) give(file);
      first = false;
      missed = 0;
    } catch (error) {
      missed += 1; // a drive of the network may be back soon
      if (!(error instanceof DOMException) || missed > LOOKS_MISSED) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  }
}

/**
 * Look into a folder, and return the pictures that are new and whole.
 * @param {any} folder
 * @param {Map<string, Seen>} known what is there, as of the look before
 * @param {boolean} first whether this is the first look
 * @returns {Promise<File[]>} copies: a camera's program may delete or replace its files
 */
async function changedIn(folder, known, first) {
  /** @type {Map<string, File>} */
  const present = new Map();
  for await (const entry of folder.values()) {
    const file = entry.kind === "file" && (await read(() => entry.getFile()));
    if (file && isPicture(file)) present.set(file.name, file);
  }
  const key = (/** @type {{size: number, at: number}} */ { size, at }) => `${size} ${at}`;
  const gone = [...known].filter(([name]) => !present.has(name));
  const renamed = new Set(gone.filter(([, seen]) => seen.given).map(([, seen]) => key(seen)));
  for (const [name] of gone) known.delete(name);
  /** @type {File[]} */
  const whole = [];
  for (const [name, file] of present) {
    const now = { size: file.size, at: file.lastModified };
    const before = known.get(name);
    const same = before !== undefined && key(before) === key(now);
    const had = first || (same ? before.given : before === undefined && renamed.has(key(now)));
    const seen = { ...now, looks: same ? before.looks + 1 : 0, given: had };
    known.set(name, seen);
    if (had || !same || !file.size) continue;
    if (seen.looks < LOOKS_UNENDED && !(await read(() => isWhole(file)))) continue;
    const content = await read(() => file.arrayBuffer());
    if (!content) continue;
    seen.given = true;
    whole.push(new File([content], name, { type: file.type, lastModified: file.lastModified }));
  }
  return whole.sort((one, other) => one.lastModified - other.lastModified);
}

/**
 * Return what is read of a file, or nothing if it was moved or is being written meanwhile.
 * @template T
 * @param {() => Promise<T>} act
 * @returns {Promise<T | undefined>}
 */
async function read(act) {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return undefined;
  }
}

/** @type {[number[], number[]][]} how files of a format begin and end */
const ENDS = [
  [[0xff, 0xd8], [0xff, 0xd9]],
  [[0x89, 0x50], [0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82]],
  [[0x47, 0x49], [0x3b]],
];
const END_BYTES = 4096; // some cameras write a few after the end of the picture

/**
 * Return whether a file ends as its format does; one of another format does.
 * @param {File} file
 */
async function isWhole(file) {
  const head = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const tail = new Uint8Array(await file.slice(-END_BYTES).arrayBuffer());
  const text = String.fromCharCode(...tail);
  const format = ENDS.find(([begin]) => begin.every((byte, at) => head[at] === byte));
  return !format || text.includes(String.fromCharCode(...format[1]));
}

/** A camera: its picture live, and shots of it. */
export class Camera {
  constructor() {
    this.video = h("video", { autoplay: true, muted: true, playsinline: true, class: "camera" });
    this.video.muted = true;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {{id: string, name: string}[]} those that there are, once one was allowed */
    this.all = [];
  }

  /** Return the id of the camera whose picture is shown, "" for none. */
  get id() {
    return this.stream?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
  }

  /** Return whether it is another camera than the one that was chosen, which is not there. */
  get isOther() {
    const chosen = localStorage.getItem(CHOSEN);
    return Boolean(chosen && this.stream && this.id !== chosen);
  }

  /**
   * Use a camera from now on.
   * @param {string} id
   */
  choose(id) {
    localStorage.setItem(CHOSEN, id);
  }

  /**
   * Start the camera that was chosen last, or else that of the back.
   * @param {() => void} lost called where the camera goes away by itself
   */
  async start(lost) {
    const chosen = localStorage.getItem(CHOSEN);
    const ask = (/** @type {MediaTrackConstraints} */ which) => {
      const video = { ...which, width: { ideal: 4096 }, height: { ideal: 4096 } };
      return navigator.mediaDevices.getUserMedia({ video });
    };
    const other = { facingMode: "environment" };
    this.stream = await (chosen ? ask({ deviceId: { exact: chosen } }) : ask(other)).catch((error) => {
      if (error.name !== "OverconstrainedError") throw error;
      return ask(other); // the one that was chosen is not there
    });
    for (const track of this.stream.getTracks()) track.onended = lost;
    const devices = await navigator.mediaDevices.enumerateDevices(); // have names only now
    this.all = devices
      .filter(({ kind }) => kind === "videoinput")
      .map(({ deviceId: id, label: name }) => ({ id, name }));
    this.video.srcObject = this.stream;
    await this.video.play().catch((error) => {
      if (error.name !== "AbortError") throw error; // it was placed on the page, and plays anew
    });
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
  }

  /**
   * @param {string} name of the file
   * @returns {Promise<File>}
   */
  async shot(name) {
    const { videoWidth: width, videoHeight: height } = this.video;
    const canvas = h("canvas", { width, height });
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    return new Promise((resolve, reject) =>
      canvas.toBlob(
        (blob) =>
          blob
            ? resolve(new File([blob], name, { type: "image/jpeg" }))
            : reject(new Error("the camera has no picture yet")),
        "image/jpeg",
        QUALITY,
      ),
    );
  }
}
