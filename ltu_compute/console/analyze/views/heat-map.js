/**
 * heatMap: the density of keypoints over the picture.
 * @module
 */
import { percentSlider } from "../controls.js";
import { h, replace } from "../dom.js";
import { t } from "../i18n.js";
import { dataUrl } from "../reply.js";

/** @param {import("./index.js").Context} context */
export function show({ result, panes, bench, memo }) {
  const layer = h("img", { src: dataUrl(result.heatmap), alt: t("overlay"), class: "stretched" });
  const apply = () => layer.style.setProperty("opacity", String(memo.opacity / 100));
  memo.opacity ??= 60;
  apply();
  panes[0].lay(layer);
  replace(
    bench.tools,
    percentSlider(t("opacity"), memo.opacity, (value) => {
      memo.opacity = value;
      apply();
    }),
    h("p", { class: "legend" }, t("heat-none"), h("i", { class: "ramp" }), t("heat-most")),
  );
}
