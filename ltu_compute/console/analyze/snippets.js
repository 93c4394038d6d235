/**
 * A request as others would send it: curl, Python, JSON.
 * @module
 */
import { chosen, wireText } from "./operations.js";
import { CLIENT } from "./session.js";

/** @typedef {import("./operations.js").Operation} Operation */
/** @typedef {import("./pictures.js").Picture} Picture */

/**
 * Return the command that asks for a password and keeps an access token in TOKEN.
 * @param {import("./session.js").Session} session
 */
export function asToken({ tokenUrl, name }) {
  return [
    "read -rsp 'Password: ' PASSWORD && export TOKEN=$(",
    `  curl -sS ${shell(new URL(tokenUrl, location.origin).href)} \\`,
    `    -d grant_type=password -d client_id=${CLIENT} \\`,
    `    --data-urlencode ${shell(`username=${name}`)} --data-urlencode "password=$PASSWORD" |`,
    `    sed 's/.*"access_token":"\\([^"]*\\).*/\\1/')`,
    "",
  ].join("\n");
}

/**
 * @param {Operation} operation
 * @param {Record<string, any>} values
 * @param {Record<string, Picture>} pictures
 */
export function asCurl(operation, values, pictures) {
  const lines = [
    `curl -sS ${shell(location.origin + operation.path)}`,
    `-H "Authorization: Bearer $TOKEN"`,
  ];
  for (const [name, picture] of Object.entries(pictures)) {
    lines.push(
      picture.source
        ? `--form-string ${shell(`${name}=${picture.source}`)}`
        : `-F ${shell(`${name}=@"${picture.name.replace(/["\\]/g, "\\$&")}"`)}`,
    );
  }
  for (const [name, value] of Object.entries(chosen(operation, values))) {
    lines.push(`--form-string ${shell(`${name}=${wireText(value)}`)}`);
  }
  return lines.join(" \\\n  ");
}

/**
 * @param {Operation} operation
 * @param {Record<string, any>} values
 * @param {Record<string, Picture>} pictures
 */
export function asPython(operation, values, pictures) {
  const given = Object.entries(pictures);
  const files = given.filter(([, picture]) => !picture.source);
  const fields = [
    ...given
      .filter(([, picture]) => picture.source)
      .map(([name, picture]) => [name, picture.source]),
    ...Object.entries(chosen(operation, values)).map(([name, value]) => [name, wireText(value)]),
  ];
  const rows = (/** @type {string[][]} */ pairs, /** @type {(text: string) => string} */ shown) =>
    pairs.map(([name, value]) => `        ${python(name)}: ${shown(value)},\n`).join("");
  const opened = files.map(([name, picture]) => [name, picture.name]);
  return (
    "import os\n\nimport requests\n\n" +
    "reply = requests.post(\n" +
    `    ${python(location.origin + operation.path)},\n` +
    `    headers={"Authorization": f"Bearer {os.environ['TOKEN']}"},\n` +
    (opened.length
      ? `    files={\n${rows(opened, (name) => `open(${python(name)}, "rb")`)}    },\n`
      : "") +
    (fields.length
      ? `    data={\n${rows(/** @type {string[][]} */ (fields), python)}    },\n`
      : "") +
    ")\nreply.raise_for_status()\nprint(reply.json())\n"
  );
}

/**
 * @param {Operation} operation
 * @param {Record<string, any>} values
 */
export function asJson(operation, values) {
  return `${JSON.stringify(chosen(operation, values), null, 2)}\n`;
}

/** @param {string} text */
function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {string} text */
function python(text) {
  return JSON.stringify(text); // a JSON text is a Python text
}
