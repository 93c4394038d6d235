/**
 * Providers, models and languages of this service, for the forms of recognition.
 * @module
 */
import { Failure } from "./api.js";
import { resultOf } from "./reply.js";

/** @typedef {import("./operations.js").Operation} Operation */
/** @typedef {import("./operations.js").Field} Field */

const LISTED = "models"; // an operation beside those that it is about
export const REMOTE = "Google"; // the provider that is elsewhere
/** @type {Record<string, string>} tasks of models, by operation */
const TASKS = { classification: "classification", objectDetection: "detection" };

export class Abilities {
  /**
   * @param {import("./api.js").Api} api
   * @param {Record<string, any>} paths of the service
   * @param {Operation[]} operations changed in place
   */
  constructor(api, paths, operations) {
    this.api = api;
    this.paths = paths;
    this.operations = operations.filter((operation) => operation.remote);
    /** @type {Map<Operation, Field[]>} fields as declared */
    this.declared = new Map(this.operations.map((operation) => [operation, operation.fields]));
  }

  /**
   * Learn what the account can use.
   * @returns {Promise<Set<Operation>>} those whose forms have changed
   */
  async learn() {
    /** @type {Set<Operation>} */
    const changed = new Set();
    for (const path of new Set(this.operations.map(listOf))) {
      if (!this.paths[path]?.get) continue;
      try {
        const found = resultOf(await (await this.api.ask(path)).json());
        for (const operation of this.operations) {
          if (listOf(operation) !== path) continue;
          const before = JSON.stringify([operation.remote, operation.fields]);
          this.#apply(operation, found);
          if (JSON.stringify([operation.remote, operation.fields]) !== before) changed.add(operation);
        }
      } catch (error) {
        if (!(error instanceof Failure)) throw error; // the form stays as it is declared
      }
    }
    return changed;
  }

  /**
   * @param {Operation} operation
   * @param {any} found
   */
  #apply(operation, { providers, models, trained = [], languages }) {
    operation.remote = providers.includes(REMOTE);
    const task = TASKS[operation.name];
    const named = [...trained, ...models]
      .filter((model) => model.task === task)
      .map((model) => model.name);
    /** @type {Record<string, string[]>} */
    const options = { model: named, language: languages };
    const fields = this.declared.get(operation) ?? [];
    operation.fields = fields
      .filter(({ name }) => name !== "provider" || operation.remote)
      .filter(({ name }) => !options[name] || options[name].length > 0)
      .map((field) =>
        options[field.name]
          ? { ...field, kind: "choice", options: ["", ...new Set(options[field.name])] }
          : field,
      );
  }
}

/** @param {Operation} operation */
function listOf({ path }) {
  return path.slice(0, path.lastIndexOf("/") + 1) + LISTED;
}
