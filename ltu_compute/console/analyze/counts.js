/**
 * How many differences each preset finds on the pair at hand, asked for once a pair.
 * @module
 */
import { Failure } from "./api.js";
import { resultOf } from "./reply.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {{preset: number, count: number | null}} Counted */

const IDLE_MS = 600; // after a result: shots that follow each other fast are not counted

export class Counts {
  /** @param {import("./api.js").Api} api */
  constructor(api) {
    this.api = api;
    /** @type {AbortController | null} */
    this.asking = null;
  }

  /** Give up what is asked: the pair is another one now. */
  cancel() {
    this.asking?.abort();
  }

  /**
   * Show no counts: the pictures are other ones now.
   * @param {Desk} desk
   */
  forget(desk) {
    if (!desk.counted) return;
    this.asking?.abort();
    desk.counted = "";
    desk.form.count([]);
  }

  /**
   * Count, unless that is done: what is said of another pair or region goes at once.
   * @param {Desk} desk that has a reply
   */
  async ask(desk) {
    const { operation, form, subject, region } = desk;
    if (!operation.counts) return;
    const about = `${subject} ${region?.picture?.url ?? ""}`;
    if (desk.counted === about) return;
    this.cancel();
    const asking = new AbortController();
    this.asking = asking;
    desk.counted = about;
    form.count([]);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    if (asking.signal.aborted) {
      if (desk.counted === about) desk.counted = "";
      return;
    }
    const body = new FormData();
    for (const [name, picture] of Object.entries(desk.sent)) {
      body.append(name, picture.blob, picture.name);
    }
    try {
      const request = { method: "POST", body, signal: asking.signal };
      const answer = await this.api.ask(operation.counts, request);
      /** @type {Counted[]} */
      const counts = resultOf(await answer.json()).counts;
      if (desk.counted === about) form.count(counts);
    } catch (error) {
      if (desk.counted === about) desk.counted = ""; // the next reply asks again
      if (!(error instanceof Failure) && !asking.signal.aborted) throw error;
    }
  }
}
