/**
 * objectMaskDetection and edges: a mask over the picture, the picture within it, or the mask alone.
 * @module
 */
import { percentSlider, readout, segments } from "../controls.js";
import { h, replace } from "../dom.js";
import { percent, t } from "../i18n.js";
import { tinted } from "../pictures.js";
import { messageOf, picturesIn } from "../reply.js";

/** @type {[number, number, number]} */
const MARK = [255, 31, 125];
/** @type {[number, number, number]} */
const DARK = [16, 18, 21];
/** @type {[number, number, number]} */
const WHITE = [255, 255, 255];

/** @param {any} reply */
export async function prepare(reply) {
  const [{ url }] = picturesIn(reply);
  return { url, sheet: await tinted(url, MARK) };
}

/** @param {import("./index.js").Context} context */
export async function show({ reply, result, info, panes, bench, current, memo, prepared }) {
  const { url, sheet } = prepared;
  /** @type {Record<string, Promise<HTMLCanvasElement>>} drawn when they are needed: they are large */
  const sheets = {};
  const outside = () => (sheets.outside ??= tinted(url, DARK, true));
  const white = () => (sheets.white ??= tinted(url, WHITE));
  const share = coverage(sheet);
  const isObject = "binary mask" in result;
  replace(
    bench.readout,
    readout(
      percent(share),
      t(isObject ? "object-share" : "edge-share"),
      info.channel ? [[t("channel"), info.channel]] : [],
    ),
    info.remarks && h("p", { class: "reservation" }, messageOf(reply)),
  );
  memo.mode ??= "overlay";
  memo.opacity ??= isObject ? 55 : 100;
  const draw = async () => {
    const { mode } = memo;
    const layers = await Promise.all(
      mode === "overlay" ? [sheet] : mode === "cut-out" ? [outside()] : [outside(), white()],
    );
    if (mode !== memo.mode || !current()) return; // another one was chosen meanwhile
    panes[0].clear();
    for (const layer of layers) {
      layer.setAttribute("class", "stretched mask");
      layer.style.setProperty("opacity", mode === "overlay" ? String(memo.opacity / 100) : "1");
      panes[0].lay(layer);
    }
  };
  const modes = ["overlay", "cut-out", "mask-only"];
  replace(
    bench.tools,
    segments(
      t("view-mode"),
      modes.map((mode) => [mode, t(mode)]),
      memo.mode,
      (mode) => {
        memo.mode = mode;
        draw();
      },
    ),
    percentSlider(t("opacity"), memo.opacity, (value) => {
      memo.opacity = value;
      draw();
    }),
  );
  await draw();
}

/**
 * Return the share of a sheet that is opaque.
 * @param {HTMLCanvasElement} sheet
 */
export function coverage(sheet) {
  const context = sheet.getContext("2d");
  if (!context) return 0;
  const channels = context.getImageData(0, 0, sheet.width, sheet.height).data;
  let opaque = 0;
  for (let at = 3; at < channels.length; at += 4) opaque += channels[at] ? 1 : 0;
  return opaque / (sheet.width * sheet.height);
}
