/**
 * Techsolut's interface for the page: data sets, models, tasks. It needs an API key, which is kept
 * in memory only.
 * @module
 */
import { Api } from "./api.js";
import { t } from "./i18n.js";
import { Refused } from "./session.js";

const PAGE = 100; // entries of a list in one request

/** Holds the key where an `Api` expects a session. */
class Key {
  access = "";

  get open() {
    return this.access !== "";
  }

  async renew() {
    throw new Refused(t("train-key-wrong"), 401);
  }

  forget() {
    this.access = "";
  }
}

export class Techsolut {
  constructor() {
    this.key = new Key();
    this.api = new Api(/** @type {any} */ (this.key));
  }

  /**
   * Return a reply, by JSON.
   * @param {string} method
   * @param {string} path
   * @param {Record<string, any>} [fields]
   * @returns {Promise<any>}
   */
  async ask(method, path, fields) {
    /** @type {RequestInit} */
    const request = { method };
    if (fields) {
      request.body = JSON.stringify(fields);
      request.headers = { "Content-Type": "application/json" };
    }
    return (await this.api.ask(`/v1${path}`, request)).json();
  }

  /**
   * Send a file with other fields, and return the reply.
   * @param {string} path
   * @param {Blob} file
   * @param {string} name of the file
   * @param {Record<string, string>} [fields]
   * @returns {Promise<any>}
   */
  async send(path, file, name, fields = {}) {
    const form = new FormData();
    form.append("file", file, name);
    for (const [field, value] of Object.entries(fields)) form.append(field, value);
    return (await this.api.ask(`/v1${path}`, { method: "POST", body: form })).json();
  }

  /**
   * Return a file.
   * @param {string} path
   */
  async file(path) {
    return (await this.api.ask(`/v1${path}`)).blob();
  }

  /**
   * Return a list, page by page.
   * @param {string} path ends with a question mark, or with an ampersand
   * @param {string} name of the list in the replies
   * @param {number} most
   */
  async all(path, name, most) {
    /** @type {any[]} */
    const found = [];
    for (;;) {
      const page = await this.ask("GET", `${path}limit=${PAGE}&offset=${found.length}`);
      found.push(...page[name]);
      if (!page[name].length || found.length >= Math.min(page.total, most)) return found;
    }
  }
}
