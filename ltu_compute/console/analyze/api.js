/**
 * Requests to the service, and what can go wrong with them.
 * @module
 */
import { translated } from "./i18n.js";
import { chosen, wireText } from "./operations.js";
import { Refused } from "./session.js";

/** @typedef {import("./operations.js").Operation} Operation */
/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {{parameter: string, message: string}} Problem */
/** @typedef {"offline" | "expired" | "busy" | "too-large" | "format" | "refused" | "fault"} Kind */

/** @type {Record<number, Kind>} */
const KINDS = { 401: "expired", 408: "busy", 413: "too-large", 415: "format", 429: "busy", 503: "busy" };

/** A request without a result. */
export class Failure extends Error {
  /**
   * @param {Kind} kind
   * @param {string} message of the service; empty where it did not answer
   * @param {Problem[]} problems
   * @param {number} retryAfter seconds; 0: unknown
   * @param {string} code what is wrong, as the service names it
   */
  constructor(kind, message, problems = [], retryAfter = 0, code = "") {
    super(message);
    this.kind = kind;
    this.problems = problems;
    this.retryAfter = retryAfter;
    this.code = code;
  }
}

export class Api {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * Run an operation.
   * @param {Operation} operation
   * @param {Record<string, any>} values
   * @param {Record<string, Picture>} pictures by the names of the parameters
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async run(operation, values, pictures, signal) {
    const form = new FormData();
    for (const [name, picture] of Object.entries(pictures)) {
      form.append(name, picture.blob, picture.name);
    }
    for (const [name, value] of Object.entries(chosen(operation, values))) {
      form.append(name, wireText(value));
    }
    const answer = await this.ask(operation.path, { method: "POST", body: form, signal });
    return answer.json();
  }

  /**
   * Ask with the account's token; one that has expired is renewed once.
   * @param {string} path
   * @param {RequestInit} [request]
   * @returns {Promise<Response>}
   */
  async ask(path, request = {}) {
    let answer = await this.#send(path, request);
    if (answer.status === 401 && this.session.open) {
      try {
        await this.session.renew();
      } catch (error) {
        if (!(error instanceof Refused)) throw new Failure("offline", "");
        if (!error.final) throw new Failure("busy", error.message);
        this.session.forget();
        throw new Failure("expired", error.message);
      }
      answer = await this.#send(path, request);
    }
    if (answer.ok) return answer;
    throw await failureOf(answer);
  }

  /**
   * @param {string} path
   * @param {RequestInit} request
   */
  async #send(path, request) {
    const headers = new Headers(request.headers);
    if (this.session.open) headers.set("Authorization", `Bearer ${this.session.access}`);
    try {
      return await fetch(path, { ...request, headers, cache: "no-store" });
    } catch (error) {
      if (request.signal?.aborted) throw error;
      throw new Failure("offline", "");
    }
  }
}

/**
 * @param {Response} answer
 * @returns {Promise<Failure>}
 */
async function failureOf(answer) {
  const kind = KINDS[answer.status] ?? (answer.status < 500 ? "refused" : "fault");
  const received = await answer.text();
  const retryAfter = Number(answer.headers.get("Retry-After") ?? 0);
  try {
    const body = JSON.parse(received);
    const reason =
      body.details?.message ?? body.detail ?? body.error_description ?? body.error?.details ?? "";
    const code = body.details?.info?.error ?? body.code ?? "";
    /** @type {Problem[]} */
    const problems = (body.errors ?? []).map((/** @type {any} */ problem) => ({
      ...problem,
      message: translated(problem.code ?? code, problem.message, {
        ...problem.values,
        parameter: problem.parameter,
      }),
    }));
    const [only] = problems.length === 1 ? problems : [];
    const message = only?.message ?? translated(code, reason, {});
    return new Failure(kind, message, problems, retryAfter, code);
  } catch {
    return new Failure(kind, `HTTP ${answer.status} ${answer.statusText}`, [], retryAfter);
  }
}

/**
 * Runs one request at a time: the newest waits for the one at work, and those between are dropped.
 * So is the answer of the one at work, unless a slider is moving: then answers are shown in order
 * while it moves.
 */
export class Latest {
  constructor() {
    /** @type {AbortController | null} */
    this.working = null;
    /** @type {(() => void) | null} */
    this.waiting = null;
    this.newest = 0;
    this.moving = false; // whether the newest is a step of something that moves
  }

  /**
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} request
   * @param {boolean} [moving] whether this is a step of something that moves
   * @returns {Promise<T | undefined>} undefined: something newer was asked for
   */
  async run(request, moving = false) {
    const number = ++this.newest;
    this.moving = moving;
    this.#wake();
    if (this.working) {
      await new Promise((resolve) => {
        this.waiting = () => resolve(undefined);
      });
    }
    if (number !== this.newest) return undefined;
    const controller = new AbortController();
    this.working = controller;
    try {
      const answer = await request(controller.signal);
      const counts = number === this.newest || this.moving;
      return counts && !controller.signal.aborted ? answer : undefined;
    } catch (error) {
      if (number !== this.newest || controller.signal.aborted) return undefined;
      throw error;
    } finally {
      if (this.working === controller) {
        this.working = null;
        this.#wake();
      }
    }
  }

  /** Give up what is at work and what waits: nobody looks at it any more. */
  cancel() {
    this.newest += 1;
    this.working?.abort();
    this.working = null;
    this.#wake();
  }

  #wake() {
    const { waiting } = this;
    this.waiting = null;
    waiting?.();
  }
}
