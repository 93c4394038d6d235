/**
 * The account: tokens are kept in memory alone, and renewed before they expire.
 * @module
 */

export const CLIENT = "ltu-api";
const EARLY = 0.75; // of a token's life, after which it is renewed
const LONGEST_DELAY_MS = 2 ** 31 - 1; // of setTimeout

/** An error of the token endpoint. */
export class Refused extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
    this.final = status < 429; // else it is too busy to say
  }
}

export class Session extends EventTarget {
  /**
   * @param {string} tokenUrl empty, if an identity provider elsewhere issues the tokens
   * @param {string} [name] of the account that was here last
   */
  constructor(tokenUrl, name = "") {
    super();
    this.tokenUrl = tokenUrl;
    this.name = name;
    this.access = "";
    this.refreshToken = "";
    this.generation = 0; // what was asked for in an earlier one does not count any more
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {Promise<void> | null} */
    this.renewing = null;
  }

  get open() {
    return this.access !== "";
  }

  /** Whether accounts are elsewhere, so that a token must be brought along. */
  get external() {
    return this.tokenUrl === "";
  }

  /**
   * Take a token of an identity provider, until it is refused.
   * @param {string} token
   */
  take(token) {
    this.generation += 1;
    this.access = token.trim().replace(/^Bearer\s+/i, "");
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {string} name
   * @param {string} password
   */
  async signIn(name, password) {
    await this.#ask({ grant_type: "password", username: name, password });
    this.name = name;
    this.dispatchEvent(new Event("change"));
  }

  /** Renew the access token; several that ask at once share one request. */
  renew() {
    if (this.external) return Promise.reject(new Refused("", 401));
    this.renewing ??= this.#ask({
      grant_type: "refresh_token",
      refresh_token: this.refreshToken,
    }).finally(() => {
      this.renewing = null;
    });
    return this.renewing;
  }

  async signOut() {
    const token = this.refreshToken;
    this.forget();
    this.dispatchEvent(new Event("signout"));
    if (this.external) return;
    const form = new URLSearchParams({ client_id: CLIENT, refresh_token: token });
    try {
      await fetch(this.tokenUrl.replace(/token$/, "logout"), { method: "POST", body: form });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // out of reach: the session ends by itself
    }
  }

  forget() {
    this.generation += 1;
    clearTimeout(this.timer);
    this.access = this.refreshToken = "";
    this.dispatchEvent(new Event("change"));
  }

  /** @param {Record<string, string>} fields */
  async #ask(fields) {
    const { generation } = this;
    const answer = await fetch(this.tokenUrl, {
      method: "POST",
      body: new URLSearchParams({ client_id: CLIENT, ...fields }),
    });
    const body = await answer.json().catch(() => ({})); // a proxy's own page, when it is busy
    if (!answer.ok || !body.access_token) {
      const reason = body.error_description ?? body.error;
      const status = answer.ok ? 502 : answer.status;
      throw new Refused(reason ?? `HTTP ${answer.status} ${answer.statusText}`, status);
    }
    if (generation !== this.generation) throw new Refused("", 401); // signed out meanwhile
    this.access = body.access_token;
    this.refreshToken = body.refresh_token;
    clearTimeout(this.timer);
    const delay = Math.min(1000 * EARLY * body.expires_in, LONGEST_DELAY_MS);
    // Errors in the background are reported when a request needs the token.
    this.timer = setTimeout(() => this.renew().catch(() => {}), delay);
  }
}
