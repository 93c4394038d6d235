/**
 * The inspection of a queue by one job of the service after the other. A long queue needs little
 * room there, has its first verdicts soon, and loses little where something fails.
 *
 * Requests that may succeed later are repeated. A shot that cannot be sent fails alone.
 * @module
 */
import { Failure } from "./api.js";
import { t } from "./i18n.js";
import { failed, outcomeOf } from "./parts.js";

/** @typedef {import("./parts.js").Part} Part */
/** @typedef {{id: string, parts: number[]}} Job its parts by their ids, in the order of its results */
/** @typedef {[name: string, value: string | Blob, file?: string]} Entry of a form */
/**
 * @typedef {object} Plan
 * @property {string} under key of what shots are compared with and how
 * @property {number[]} parts ids
 * @property {number[]} done those of them that have an outcome of this run
 * @property {Job[]} jobs at work
 */

export const PATH = "/v1/inspections";
const PAGE = 1000; // results in one reply
const FILES = 50; // in one job
const BYTES = 24e6; // in one job, unless a single shot has more
const AHEAD = 2; // jobs at once: one is sent while the other is computed
const POLL_MS = 400; // between two looks at a job, and longer with many results
const MISSED = 20; // requests without an answer, one after the other, before it ends
const LONGEST_MS = 15_000; // between two of them
/** @type {import("./api.js").Kind[]} */
export const PASSING = ["offline", "busy", "fault"];
/** @type {import("./api.js").Kind[]} of a request that is not accepted with these shots */
const OF_SHOTS = ["too-large", "format", "refused"];
const ENDED = new Set(["completed", "failed", "cancelled"]);

export class Run {
  /**
   * @param {import("./api.js").Api} api
   * @param {object} acts
   * @param {(reason: string) => Promise<boolean>} acts.signedIn asks for the account where there is none
   * @param {(id: number) => Part | undefined} acts.part
   * @param {() => void} acts.changed
   * @param {Plan} plan
   * @param {Entry[] | null} form of a job, without its shots; null: no further one is to be sent
   */
  constructor(api, acts, plan, form) {
    this.api = api;
    this.acts = acts;
    this.plan = plan;
    this.form = form;
    /** @type {Set<number>} parts of jobs that ended without their results */
    this.lost = new Set();
    /** @type {Promise<boolean> | null} */
    this.signing = null;
    this.over = false;
    this.trouble = "";
    this.error = ""; // of a job that failed
    this.missed = 0;
  }

  /**
   * Inspect all parts.
   * @returns {Promise<Failure | null>} why it ended before all were sent and inspected
   */
  async go() {
    /** @type {Promise<void>[]} */
    const working = [];
    const follow = (/** @type {Job} */ job) => {
      const followed = this.#follow(job);
      followed.catch(() => {}); // it is awaited, but maybe later than it fails
      working.push(followed);
    };
    this.plan.jobs.forEach(follow);
    try {
      while (!this.over) {
        const group = this.form && working.length < AHEAD ? this.#next() : [];
        if (group.length) {
          const job = await this.#submit(group);
          if (job) follow(job);
        } else if (working.length) await working.shift();
        else break;
      }
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return error;
    } finally {
      this.over = true;
      await Promise.allSettled(working);
    }
    return null;
  }

  /** Return the parts that were not inspected. */
  get left() {
    const { parts, done } = this.plan;
    return parts.filter((id) => !done.includes(id));
  }

  /** Stop, and have the service stop, too. */
  async cancel() {
    this.over = true;
    await Promise.allSettled(this.plan.jobs.map(({ id }) => this.#send(`/${id}/cancel`, "POST")));
  }

  /** Return the parts that are to be sent next: as many as one request may have. */
  #next() {
    const sent = new Set([...this.lost, ...this.plan.jobs.flatMap(({ parts }) => parts)]);
    /** @type {Part[]} */
    const group = [];
    let bytes = 0;
    for (const id of this.left) {
      const part = this.acts.part(id);
      if (sent.has(id) || !part?.file) continue;
      bytes += part.file.size;
      if (group.length && (group.length === FILES || bytes > BYTES)) break;
      group.push(part);
    }
    return group;
  }

  /**
   * Have the service inspect some parts.
   * @param {Part[]} group
   * @returns {Promise<Job | null>} null: none of them could be sent
   */
  async #submit(group) {
    const form = new FormData();
    for (const [name, value, file] of this.form ?? []) {
      if (value instanceof Blob) form.append(name, value, file);
      else form.append(name, value);
    }
    form.append("open", "true");
    const { id } = await this.#insist(() => this.#send("", "POST", form));
    /** @type {Job} */
    const job = { id, parts: [] };
    try {
      await this.#add(job, group);
      if (job.parts.length && !this.over) {
        await this.#insist(async () => {
          const { state } = await this.#send(`/${id}`); // what was not answered may be done
          if (state === "receiving") await this.#send(`/${id}/start`, "POST");
        });
        this.plan.jobs.push(job);
        this.acts.changed();
        return job;
      }
    } catch (error) {
      this.#forget(job);
      throw error;
    }
    this.#forget(job);
    return null;
  }

  /**
   * Add shots to a job that is open; those that are not accepted fail.
   * @param {Job} job
   * @param {Part[]} group
   */
  async #add(job, group) {
    const present = await this.#readable(group);
    if (!present.length || this.over) return;
    const form = new FormData();
    for (const { file, name } of present) form.append("shot", /** @type {Blob} */ (file), name);
    try {
      await this.#insist(async (again) => {
        const known = again ? (await this.#send(`/${job.id}`)).shots : job.parts.length;
        if (known !== job.parts.length) return;
        if (again && (await this.#readable(present)).length < present.length) throw new Failure("refused", t("shots-unreadable"));
        await this.#send(`/${job.id}/shots`, "POST", form);
      });
      job.parts.push(...present.map(({ id }) => id));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const still = await this.#readable(present);
      const fewer = still.length < present.length; // a file that is gone looks like a lost connection
      if (!fewer && !OF_SHOTS.includes(error.kind)) throw error;
      if (!fewer && present.length === 1) this.#fail(present[0], error.message);
      else if (fewer) await this.#add(job, still);
      else {
        const half = present.length >> 1;
        await this.#add(job, present.slice(0, half));
        await this.#add(job, present.slice(half));
      }
    }
  }

  /**
   * Return the parts whose files can be read; the others fail.
   * @param {Part[]} group
   */
  async #readable(group) {
    const found = await Promise.all(
      group.map(({ file }) => file && canBeRead(file)),
    );
    group.forEach((part, at) => found[at] || this.#fail(part, t("shots-unreadable")));
    return group.filter((_, at) => found[at]);
  }

  /**
   * @param {Part} part
   * @param {string} reason
   */
  #fail(part, reason) {
    Object.assign(part, { outcome: failed(reason), under: this.plan.under });
    this.#settle(part.id);
    this.acts.changed();
  }

  /**
   * Take the results of a job until it has ended, and delete it.
   * @param {Job} job
   */
  async #follow(job) {
    try {
      await this.#results(job);
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "refused") throw error;
      this.error = error.message; // such as that it was deleted
    }
    this.plan.jobs = this.plan.jobs.filter((each) => each !== job);
    for (const id of this.left) if (job.parts.includes(id)) this.lost.add(id);
    this.#forget(job);
    this.acts.changed();
  }

  /** @param {Job} job */
  async #results(job) {
    for (let taken = 0; ; ) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS + 2 * taken));
      const { state, inspected, error } = await this.#insist(() => this.#send(`/${job.id}`));
      const ended = ENDED.has(state);
      if (ended) taken = 0; // a gap is filled where several compute
      while (taken < inspected) {
        const path = `/${job.id}/results?offset=${taken}&limit=${PAGE}`;
        const { results } = await this.#insist(() => this.#send(path));
        if (!results.length) break;
        for (const row of results) this.#take(job.parts[row.position], row);
        taken += results.length;
      }
      this.error ||= error;
      this.acts.changed();
      if (ended) return;
    }
  }

  /**
   * @param {number} id of a part
   * @param {any} row result of the service
   */
  #take(id, row) {
    const part = this.acts.part(id);
    if (part) Object.assign(part, { outcome: outcomeOf(row, false), under: this.plan.under });
    this.#settle(id);
  }

  /** @param {number} id of a part that has an outcome now */
  #settle(id) {
    const { parts, done } = this.plan;
    if (parts.includes(id) && !done.includes(id)) done.push(id); // it may have left the queue
  }

  /**
   * Delete a job, and with it the shots and results that the service has of it.
   * @param {Job} job
   */
  #forget({ id }) {
    this.#send(`/${id}`, "DELETE").catch((error) => {
      if (!(error instanceof Failure)) throw error; // else it is deleted when its time is over
    });
  }

  /**
   * Ask until there is an answer; where the session has ended, ask for the password and go on.
   * @template T
   * @param {(again: boolean) => Promise<T>} ask
   * @returns {Promise<T>}
   */
  async #insist(ask) {
    for (let again = false; ; again = true) {
      try {
        const answer = await ask(again);
        if (this.missed) Object.assign(this, { missed: 0, trouble: "" });
        return answer;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.kind === "expired") {
          this.signing ??= this.acts.signedIn(t("session-expired")).finally(() => (this.signing = null));
          if (await this.signing) continue;
          throw new Failure("expired", t("error-expired"));
        }
        if (this.over || !PASSING.includes(error.kind) || this.missed === MISSED) throw error;
        this.missed += 1;
        if (this.missed > 1) this.trouble = t("shots-waits", { why: error.message });
        this.acts.changed();
        const wait = Math.max(Math.min(500 * 2 ** this.missed, LONGEST_MS), 1000 * error.retryAfter);
        await new Promise((resolve) => setTimeout(resolve, Math.min(wait, LONGEST_MS)));
      }
    }
  }

  /**
   * @param {string} path under that of inspections
   * @param {string} [method]
   * @param {FormData} [body]
   * @returns {Promise<any>}
   */
  async #send(path, method = "GET", body) {
    const answer = await this.api.ask(PATH + path, { method, body });
    return answer.json();
  }
}

/**
 * Return whether a file can be read still. Of one that is gone, Chromium reads a slice as empty.
 * @param {Blob} file
 */
async function canBeRead(file) {
  const reader = file.stream().getReader();
  try {
    await reader.read();
    return true;
  } catch {
    return false;
  } finally {
    reader.cancel().catch(() => {}); // fails as the reading did
  }
}
