/**
 * Any operation: what its reply has of pictures and places, and its numbers.
 * @module
 */
import { readout, table } from "../controls.js";
import { h, replace } from "../dom.js";
import { number, t } from "../i18n.js";
import { messageOf, picturesIn, placesIn } from "../reply.js";
import { showMarks } from "./marks.js";

/** @param {import("./index.js").Context} context */
export function show({ reply, info, panes, bench, details }) {
  const [pane] = panes;
  const places = placesIn(reply, pane.width, pane.height);
  const pictures = picturesIn(reply);
  const plain = Object.entries(info).filter(
    ([, value]) => value === null || typeof value !== "object",
  );
  replace(
    bench.readout,
    places.length > 0 && readout(places.length, t("places", { n: places.length })),
    messageOf(reply) && h("p", {}, messageOf(reply)),
  );
  const marks = places.map(({ outline, box, entry, path }, index) => ({
    places: [{ outline, box }],
    tag: String(index + 1),
    title: entry.name ?? entry.description ?? entry.text ?? path,
  }));
  replace(
    details,
    plain.length > 0 &&
      table(
        [],
        plain.map(([name, value]) => [name, shown(value)]),
        t("result-of"),
      ),
    marks.length > 0 && showMarks([pane], marks),
    pictures.map(({ path, url }) =>
      h("figure", {}, h("img", { src: url, alt: path }), h("figcaption", {}, path)),
    ),
  );
}

/** @param {unknown} value */
function shown(value) {
  return typeof value === "number" ? number(value, 3) : String(value);
}
