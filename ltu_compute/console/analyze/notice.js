/**
 * Notices about a request as a whole, and about the next attempt.
 * @module
 */
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";

const RETRIES = 6;
const WAIT_S = { offline: 3, busy: 2 }; // where the service does not say

export class Notice {
  /**
   * @param {HTMLElement} place
   * @param {() => void} again asks once more
   */
  constructor(place, again) {
    this.place = place;
    this.again = again;
    this.retries = 0;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.countdown = undefined;
  }

  /**
   * @param {string} words of the page
   * @param {string} [detail] by the service
   * @param {...HTMLElement} waysOn
   */
  tell(words, detail = "", ...waysOn) {
    this.hold();
    const first = h("span", {}, words);
    const rest = detail && h("q", {}, detail);
    replace(this.place, h("p", {}, first, words && detail && " ", rest), ...waysOn);
    return first;
  }

  /**
   * Ask again after a while, a few times.
   * @param {"offline" | "busy"} kind
   * @param {number} seconds 0: unknown
   * @param {string} detail by the service
   */
  comeBack(kind, seconds, detail) {
    this.retries += 1;
    const now = button("try-now", () => {
      this.retries = 0;
      this.again();
    });
    if (this.retries > RETRIES) {
      this.tell(t(`error-${kind}-long`), detail, now);
      return;
    }
    let left = Math.ceil(seconds || WAIT_S[kind]);
    const words = this.tell(t(`error-${kind}`, { n: left }), detail, now);
    this.countdown = setInterval(() => {
      left -= 1;
      words.textContent = t(`error-${kind}`, { n: left });
      if (left <= 0) this.again();
    }, 1000);
  }

  /** Ask no more by itself. */
  hold() {
    clearInterval(this.countdown);
  }

  clear() {
    this.hold();
    replace(this.place);
  }
}

/**
 * @param {string} key
 * @param {() => void} act
 */
export function button(key, act) {
  return h("button", { type: "button", onclick: act }, t(key));
}
