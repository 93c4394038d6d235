/**
 * Operations of the service, read from its OpenAPI document: operations, their pictures, their
 * parameters. Nothing here knows an operation by name.
 * @module
 */

/** @typedef {any} Schema */
/**
 * @typedef {object} Field
 * @property {string} name
 * @property {"flag" | "choice" | "number" | "text" | "color" | "object"} kind
 * @property {string} description
 * @property {any} initial what counts where nothing is given
 * @property {string[]} options of a choice
 * @property {{name: string, options: Record<string, string[]>} | null} [by] a field that options depend on
 * @property {number | undefined} minimum
 * @property {number | undefined} maximum
 * @property {boolean} whole
 * @property {string[]} words that a number's place takes, too
 * @property {Field[]} fields of an object
 */
/** @typedef {{name: string, description: string, required: boolean}} PictureField */
/** @typedef {{tokenUrl: string, paths: Record<string, Schema>, operations: Operation[]}} Service */

/**
 * @typedef {object} Operation
 * @property {string} name
 * @property {string} path
 * @property {string} group
 * @property {string} summary
 * @property {PictureField[]} pictures
 * @property {Field[]} fields
 * @property {boolean} remote whether pictures may be sent to a provider elsewhere
 * @property {string | null} presets where its presets are listed
 * @property {string | null} counts where differences are counted for each preset
 */

const FORM = "multipart/form-data";
const JSON_TYPE = "application/json";
const ON_PAGE = "x-analyze-page"; // marks what has a place on this page
const NOT_ENABLED = "501"; // declared by what may ask a provider elsewhere

/**
 * Return what a service declares.
 * @param {Schema} description its OpenAPI document
 * @returns {Service}
 */
export function serviceOf(description) {
  const schemes = Object.values(description.components.securitySchemes ?? {});
  const tokenUrl = schemes.map((scheme) => scheme.flows?.password?.tokenUrl).find(Boolean) ?? "";
  const operations = Object.entries(description.paths)
    .map(([path, item]) => operationOf(description, path, item.post))
    .filter((operation) => operation !== null);
  return {
    tokenUrl,
    paths: description.paths,
    operations: /** @type {Operation[]} */ (operations),
  };
}

/**
 * @param {Schema} description
 * @param {string} path
 * @param {Schema | undefined} declared
 * @returns {Operation | null}
 */
function operationOf(description, path, declared) {
  const form = declared?.requestBody?.content?.[FORM]?.schema;
  const body = declared?.requestBody?.content?.[JSON_TYPE]?.schema;
  if (!declared?.[ON_PAGE] || !form || !body) return null;
  const required = new Set(form.required ?? []);
  const names = Object.keys(form.properties);
  const isPicture = (/** @type {string} */ name) => form.properties[name].format === "binary";
  if (!names.some(isPicture)) return null;
  const [presets, counts] = [`${path}/presets`, `${path}/counts`];
  return {
    name: path.slice(path.lastIndexOf("/") + 1),
    path,
    group: declared.tags?.[0] ?? "",
    summary: declared.summary ?? "",
    pictures: names.filter(isPicture).map((name) => ({
      name,
      description: form.properties[name].description.replace(/ A file\. .*$/, ""),
      required: required.has(name),
    })),
    fields: names
      .filter((name) => !isPicture(name))
      .map((name) => fieldOf(description, name, body.properties[name]))
      .filter((field) => field !== null)
      .map((field) => /** @type {Field} */ (field)),
    remote: NOT_ENABLED in (declared.responses ?? {}),
    presets: description.paths[presets]?.get ? presets : null,
    counts: description.paths[counts]?.post ? counts : null,
  };
}

/**
 * Return a parameter as a form needs it; null where there is nothing to choose.
 * @param {Schema} description
 * @param {string} name
 * @param {Schema} declared
 * @returns {Field | null}
 */
function fieldOf(description, name, declared) {
  const schema = resolved(description, declared);
  const types = [schema.type].flat();
  const options = (schema.enum ?? schema["x-options"] ?? [])
    .filter(
      (/** @type {any} */ option) => option !== null && (option !== "" || schema.default === ""),
    )
    .map(String);
  if (types.includes("array")) return null; // polygons are drawn, not written
  if (schema.const !== undefined || (schema.enum && options.length < 2)) return null;
  const [by] = Object.entries(schema["x-options-by"] ?? {});
  const kind = kindOf(schema, types, options.length > 0 || Boolean(by));
  return {
    name,
    kind,
    description: declared.description ?? schema.description ?? "",
    initial: declared.default ?? schema.default ?? "",
    options,
    by: by ? { name: by[0], options: /** @type {any} */ (by[1]) } : null,
    minimum: schema.minimum,
    maximum: schema.maximum,
    whole: types.includes("integer"),
    words: schema["x-words"] ?? [],
    fields: Object.entries(schema.properties ?? {})
      .map(([inner, found]) => fieldOf(description, inner, found))
      .filter((field) => field !== null)
      .map((field) => /** @type {Field} */ (field)),
  };
}

/**
 * @param {Schema} schema
 * @param {string[]} types
 * @param {boolean} limited whether there are options
 * @returns {Field["kind"]}
 */
function kindOf(schema, types, limited) {
  if (schema.properties) return "object";
  if (types.includes("boolean")) return "flag";
  if (limited) return "choice";
  if (schema["x-format"] === "bgr") return "color";
  return types.includes("number") || types.includes("integer") ? "number" : "text";
}

/**
 * Follow a reference, and take the branch of several that says most.
 * @param {Schema} description
 * @param {Schema} declared
 * @returns {Schema}
 */
function resolved(description, declared) {
  const [first] = declared.anyOf ?? [];
  if (first) {
    const { anyOf: _, ...rest } = declared;
    return { ...resolved(description, first), ...rest };
  }
  if (!declared.$ref) return declared;
  const name = declared.$ref.slice(declared.$ref.lastIndexOf("/") + 1);
  return description.components.schemas[name];
}

/**
 * Return what is sent for values: those that differ from what counts anyway.
 * @param {Operation} operation
 * @param {Record<string, any>} values of an object: those of its fields that override a preset's
 * @returns {Record<string, any>}
 */
export function chosen(operation, values) {
  /** @type {Record<string, any>} */
  const sent = {};
  for (const field of operation.fields) {
    const value = values[field.name];
    if (value === undefined) continue;
    if (field.kind === "object") {
      if (Object.keys(value).length) sent[field.name] = value;
    } else if (value !== field.initial) {
      sent[field.name] = value;
    }
  }
  return sent;
}

/**
 * Return a value as a form holds it.
 * @param {any} value
 * @returns {string}
 */
export function wireText(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
