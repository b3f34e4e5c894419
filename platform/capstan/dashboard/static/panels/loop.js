// The loop: its stations, the busy one lit, and on the way back a sentence on what is waited for.

import { h, s } from "../dom.js";
import { trace } from "../lineage.js";

const ICONS = {
  Serve: "M4 10h10M10 5.5 14.5 10 10 14.5M17 4v12",
  Watch: "M2 10s3-5.5 8-5.5S18 10 18 10s-3 5.5-8 5.5S2 10 2 10Zm8 2.4a2.4 2.4 0 1 0 0-4.8 2.4 2.4 0 0 0 0 4.8Z",
  Alert: "M10 3.2 18 16.5H2L10 3.2Zm0 5v4M10 14.4v.1",
  Train: "M10 3 17.5 7 10 11 2.5 7 10 3Zm-7.5 7.2L10 14.2l7.5-4M2.5 13.3l7.5 4 7.5-4",
  Deploy: "M10 13V4M6 7.5 10 3.5l4 4M3 12.5v4h14v-4",
  Promote: "M3 15.5 4 6l4 4 2-5.5 2 5.5 4-4 1 9.5H3Z",
};

export function drawLoop(page) {
  const current = page.loop.find((stage) => stage.is_current);
  return h("div", { class: "ring", vars: { "--stations": Math.max(1, page.loop.length) } },
    h("ol", { class: "stations" }, page.loop.map((stage) =>
      h("li", { class: `station ${stage.tone}${stage.is_current ? " current" : ""}`, "aria-current": stage.is_current ? "step" : undefined },
        h("button", { type: "button", marks: stage.mark, "data-key": `loop-${stage.name}`, disabled: !stage.mark, onclick: () => trace(stage.mark) },
          s("svg", { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }, s("path", { d: stage.icon || ICONS[stage.name] })),
          h("b", {}, stage.name),
          h("small", {}, stage.detail))))),
    h("p", { class: "doing", "aria-live": "polite" }, page.head.doing || resting(current)));
}

function resting(current) {
  if (!current) return "";
  if (current.doing) return current.doing;
  return {
    Watch: "traffic is watched; nothing else to do",
    Alert: "an alert fires",
    Train: current.tone === "idle" ? "the first training starts soon" : "a model is being trained",
    Deploy: "a version is being started",
    Promote: "traffic and alias move to the challenger",
  }[current.name] ?? "";
}
