// An interleaving: whom units preferred, and the preference over time between its bounds.

import { h, version } from "../dom.js";
import { count, many, percent, signed } from "../format.js";
import { verdicts } from "./experiment.js";
import { bound, sequence } from "./sequence.js";

export function preference(found) {
  const units = found.wins + found.losses + found.ties;
  const rows = [
    [version(found.challenger, "challenger"), found.wins],
    [version(found.champion, "champion"), found.losses],
    ["neither", found.ties],
  ];
  const said = `preference ${signed(found.preference)} for ${found.challenger}, bounds ${bound(found.lower)} to ${bound(found.upper)} that hold at every look`;
  return h("div", { class: "online", role: "group", "aria-label": "Interleaving" },
    h("h3", {}, "Interleaving ", h("small", { class: "quiet" }, `whose items users choose by ${found.event}, ${found.method}; ${found.rule}`)),
    h("div", { class: "scroll" }, h("table", { "aria-label": "Units" },
      h("thead", {}, h("tr", {}, ["preferred", "units", "share"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map(([name, won]) => h("tr", {},
        h("th", { scope: "row" }, name), h("td", {}, count(won)), h("td", {}, units > 0 ? percent(won / units, 1) : "–")))))),
    h("p", { class: "quiet" }, `${many(found.waiting, "unit")} ${found.waiting === 1 ? "waits" : "wait"} for the end of ${found.waiting === 1 ? "its" : "their"} window; ${many(found.requests, "request")} interleaved, ${count(found.alone)} answered by the champion alone`),
    found.series.length > 0 && h("div", { class: "courses" }, sequence(found.series, { words: `By day, at last ${said}`, caption: said })),
    verdicts(found));
}
