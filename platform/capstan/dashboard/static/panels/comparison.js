// What both versions said of the same requests, with labels or without.

import { h, s } from "../dom.js";
import { count, percent, signed } from "../format.js";

export function comparison(found) {
  const output = found.outputs[0];
  const lead = `${percent(found.exact, 1)} equal, ${percent(1 - found.disagreement, 1)} decided alike, mean distance ${short(found.distance)}`;
  return h("details", { class: "comparison", "data-details": "comparison" },
    h("summary", { "data-key": "comparison" }, h("b", {}, "Predictions compared "), lead),
    h("p", { class: "quiet" }, `${count(found.requests)} requests that both answered; ${count(found.unpaired)} without a partner, ${count(found.unsound)} of them answered unsoundly; ${count(found.lost_payloads)} payloads lost`),
    output && h("div", { class: "columns" },
      table("How far apart", ["output", "distance", "shift", "KS", "Wasserstein"], found.outputs.map((one) =>
        [one.name, short(one.mean_distance), signed(one.shift, 3), short(one.ks), short(one.wasserstein)])),
      deciles(output)),
    found.slices.length > 0 && table("By slice", ["slice", "pairs", "equal", "alike", "distance", "shift"], found.slices.map((one) =>
      [`${one.column} ${one.value}`, count(one.pairs), percent(one.exact, 1), percent(1 - one.disagreement, 1), short(one.mean_distance), signed(one.shift, 3)])),
    found.most_different.length > 0 && table("Where they differ most", ["request", "champion", "challenger", "inputs that may be shown"], found.most_different.map((one) =>
      [one.request_id + (one.row ? ` row ${one.row}` : ""), said(one.champion), said(one.challenger), Object.entries(one.inputs).map(([name, value]) => `${name} ${value}`).join(", ") || "none"])));
}

function table(title, heads, rows) {
  return h("div", { class: "scroll" }, h("table", { "aria-label": title }, h("caption", {}, title),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

// The mean of both versions in each tenth of the champion's predictions: a challenger that shifts leaves the diagonal.
function deciles(output) {
  const W = 200, H = 150, edge = 22;
  const values = output.deciles.flatMap((one) => [one.champion, one.challenger]);
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
  const x = (value) => edge + ((value - low) / span) * (W - 2 * edge);
  const y = (value) => H - edge - ((value - low) / span) * (H - 2 * edge);
  const words = output.deciles.map((one) => `${short(one.champion)} to ${short(one.challenger)}`).join(", ");
  return h("figure", { class: "deciles" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Mean ${output.name} by tenths of the champion's, champion to challenger: ${words}` },
      s("line", { class: "zero", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }),
      output.deciles.map((one) => s("circle", { class: "block", cx: x(one.champion), cy: y(one.challenger), r: 3.5 },
        s("title", {}, `${count(one.pairs)} pairs: champion ${short(one.champion)}, challenger ${short(one.challenger)}`))),
      s("text", { x: W / 2, y: H - 6, "text-anchor": "middle" }, "champion's mean"),
      s("text", { x: 10, y: H / 2, transform: `rotate(-90 10 ${H / 2})`, "text-anchor": "middle" }, "challenger's")),
    h("figcaption", { class: "quiet" }, `${output.name} by tenths; on the line nothing shifted`));
}

const short = (value) => (value === null ? "-" : Number(value.toPrecision(3)).toString());
const said = (outputs) => Object.entries(outputs).map(([name, value]) => `${name} ${typeof value === "number" ? short(value) : value}`).join(", ");
