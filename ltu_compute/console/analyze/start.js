/**
 * The first minute: a sample to try, and where the first account's password is.
 * @module
 */
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {{username: string, file: string}} FirstAccount */

const FOLDER = "/analyze/sample/";
const PAIR = ["part-reference.jpg", "part-shot.jpg"];
const ABOUT = "/analyze/start.json";

/**
 * Offer a sample where no picture is given yet.
 * @param {HTMLElement} place
 * @param {number} count of pictures that the operation takes; 0: offer nothing
 * @param {{give: (files: File[]) => void, fail: () => void}} acts fail: it is out of reach
 */
export function offerSample(place, count, { give, fail }) {
  const focused = place.contains(document.activeElement);
  if (!count || count > PAIR.length) {
    replace(place);
    if (focused) document.getElementById("bench")?.focus();
    return;
  }
  const key = count > 1 ? "sample-pair" : "sample-one";
  const button = h("button", { type: "button", class: "primary", id: "sample" }, t(key));
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      give(await Promise.all(PAIR.slice(-count).map(sample)));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      fail();
    } finally {
      button.disabled = false;
    }
  });
  replace(place, h("div", { class: "start" }, button, h("p", {}, t(`${key}-help`))));
}

/** @param {string} name */
async function sample(name) {
  const answer = await fetch(FOLDER + name);
  if (!answer.ok) throw new Error(`HTTP ${answer.status} for ${name}`);
  return new File([await answer.blob()], name, { type: "image/jpeg" });
}

/**
 * Return the account that quick start has made, or null.
 * @returns {Promise<FirstAccount | null>}
 */
export async function firstAccount() {
  const answer = await fetch(ABOUT);
  return answer.ok ? (await answer.json()).first_account : null;
}
