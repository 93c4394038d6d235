/**
 * Sources of shots: files, folders, a folder that is watched, a camera.
 * @module
 */
import { h } from "./dom.js";

const PICTURE = /\.(jpe?g|png|gif|webp|avif|bmp|tiff?|hei[cf])$/i;
const WATCH_MS = 1000; // between two looks at a folder
const QUALITY = 0.95; // of a camera's JPEG

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
 * Give each picture that appears in a folder, once it has stopped growing.
 * @param {any} folder a FileSystemDirectoryHandle
 * @param {(file: File) => void} give
 * @param {AbortSignal} signal
 * @returns {Promise<void>} resolved when it is over; rejected when the folder is gone
 */
export async function watchFolder(folder, give, signal) {
  /** @type {Map<string, {size: number, at: number, given: boolean}>} */
  const known = new Map();
  for (let first = true; !signal.aborted; first = false) {
    for await (const entry of folder.values()) {
      if (entry.kind !== "file") continue;
      const file = await entry.getFile();
      if (!isPicture(file)) continue;
      const { size, lastModified: at } = file;
      const before = known.get(file.name);
      const same = before !== undefined && before.size === size && before.at === at;
      const had = first || (same && before.given); // one that is written anew is a new shot
      const given = had || (same && size > 0);
      if (given && !had) give(file);
      known.set(file.name, { size, at, given });
    }
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  }
}

/** A camera: its picture live, and shots of it. */
export class Camera {
  constructor() {
    this.video = h("video", { autoplay: true, muted: true, playsinline: true, class: "camera" });
    this.video.muted = true;
    /** @type {MediaStream | null} */
    this.stream = null;
    this.count = 0;
  }

  async start() {
    const wanted = { facingMode: "environment", width: { ideal: 4096 }, height: { ideal: 4096 } };
    this.stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
  }

  /** @returns {Promise<File>} */
  async shot() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const canvas = h("canvas", { width, height });
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    this.count += 1;
    const name = `camera-${String(this.count).padStart(3, "0")}.jpg`;
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
