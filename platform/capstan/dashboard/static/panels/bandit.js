// A bandit: the share that each arm had over time, and the estimated regret.

import { h, s, version } from "../dom.js";
import { count, day, metricName } from "../format.js";

export function bandit(found) {
  const moves = found.moves, last = moves[moves.length - 1];
  const arms = Object.keys(last.weights);
  const role = (arm) => (arm === arms[0] ? "champion" : "challenger");
  const lost = found.regret === null ? "" : `; estimated regret ${found.regret.toPrecision(3)} over ${count(found.units)} units, ${found.even.toPrecision(3)} in equal shares`;
  return h("div", { class: "experiment" },
    h("table", {},
      h("caption", {}, `${found.policy} on ${metricName(found.metric)}, ${found.better.toLowerCase()} is better${lost}`),
      h("thead", {}, h("tr", {}, ["arm", "share now", "estimated mean"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, arms.map((arm) => h("tr", {},
        h("th", { scope: "row" }, version(arm, role(arm))),
        h("td", {}, `${last.weights[arm]} %`),
        h("td", {}, last.means[arm] === undefined ? "-" : last.means[arm].toPrecision(4)))))),
    shares(found, arms));
}

function shares(found, arms) {
  const W = 420, H = 120, left = 44, top = 8, bottom = 100;
  const moves = found.moves;
  const begin = Date.parse(moves[0].at), end = Math.max(Date.parse(found.until), begin + 1);
  const x = (at) => left + ((Math.min(Date.parse(at), end) - begin) / (end - begin)) * (W - left - 8);
  const y = (percent) => bottom - (percent / 100) * (bottom - top);
  const line = (arm) => moves.flatMap((move, i) => {
    const until = i + 1 < moves.length ? moves[i + 1].at : found.until;
    return [`${x(move.at)},${y(move.weights[arm])}`, `${x(until)},${y(move.weights[arm])}`];
  }).join(" ");
  const last = moves[moves.length - 1];
  const words = `Shares over time, at last ${arms.map((arm) => `${arm} ${last.weights[arm]} %`).join(", ")}`;
  return h("figure", { class: "sequence" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": words },
      [0, 50, 100].map((level) => [
        s("line", { class: level === 0 ? "zero" : "margin", x1: left, x2: W - 8, y1: y(level), y2: y(level) }),
        s("text", { x: left - 4, y: y(level) + 3, "text-anchor": "end" }, `${level} %`)]),
      arms.map((arm) => s("polyline", { class: "path", points: line(arm) }, s("title", {}, `${arm}: ${last.weights[arm]} %`))),
      arms.map((arm) => s("text", { x: W - 10, y: y(last.weights[arm]) - 3, "text-anchor": "end" }, arm)),
      s("text", { x: left, y: H - 4 }, day(moves[0].at)),
      s("text", { x: W - 8, y: H - 4, "text-anchor": "end" }, day(found.until))),
    h("figcaption", {}, `share of each arm; moved ${count(moves.length - 1)} times`));
}
