// Every version: who it is, how good, since when, why it was made, and what became of it.

import { h, dot, empty, version } from "../dom.js";
import { metric, metricName, metricRank, telling } from "../format.js";
import { trace } from "../lineage.js";

export function drawVersions(page) {
  if (!page.versions.length) return empty("No version yet", "Each successful training registers one here, with its metrics, digest and share of traffic.");
  const names = [...new Set(page.versions.flatMap((v) => Object.keys(v.metrics)))].sort((a, b) => metricRank(a) - metricRank(b)).slice(0, 2);
  const told = telling(page.versions.map((v) => v.as_of));
  const headers = ["version", "weight", ...names.map(metricName), "data as of", "trigger", "digest", "state"];
  return h("div", { class: "scroll", "data-scroll": "versions", tabindex: -1 }, h("table", { class: "numbers rows" },
    h("caption", {}, "metrics on the rows of the test, which no candidate learnt from or was chosen by"),
    h("thead", {}, h("tr", {}, headers.map((name) => h("th", { scope: "col", class: OPTIONAL.has(name) || name === metricName(names[1] ?? "") ? "optional" : "" }, name)))),
    h("tbody", {}, page.versions.map((v) =>
      h("tr", { marks: [v.mark], tabindex: 0, "data-key": v.mark, onclick: () => trace(v.mark), onkeydown: (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); trace(v.mark); } } },
        h("th", { scope: "row" }, version(v.name, v.role), " ", h("small", {}, v.role), " ", h("a", { href: `card/${encodeURIComponent(v.name)}`, target: "_blank", class: "quiet", onclick: (e) => e.stopPropagation() }, "card"), " ", h("a", { href: `data/${encodeURIComponent(v.name)}`, target: "_blank", class: "quiet", onclick: (e) => e.stopPropagation() }, "data")),
        h("td", {}, v.weight ? h("b", {}, `${v.weight} %`) : h("span", { class: "quiet" }, "–")),
        names.map((name, i) => h("td", { class: i ? "optional" : "" }, metric(v.metrics[name]))),
        h("td", {}, told.date(v.as_of)),
        h("td", { class: "optional" }, v.trigger.toLowerCase() || "–"),
        h("td", { class: "optional" }, h("code", { title: v.digest }, v.digest.replace("sha256:", "").slice(0, 8))),
        h("td", { class: "state" }, dot(v.tone), [v.readiness, v.outcome].filter(Boolean).join(", ")))))));
}

const OPTIONAL = new Set(["trigger", "digest"]);
