// A bandit: the share that each arm had over time, what its arms are worth, the estimated regret, and its guardrails.

import { h } from "../dom.js";
import { count, many, metricName, number } from "../format.js";
import { arms, others, verdicts } from "./experiment.js";
import { lines, tint } from "./sequence.js";

export function bandit(found) {
  const last = found.moves[found.moves.length - 1];
  return h("div", { class: "online", role: "group", "aria-label": "Bandit" },
    h("h3", {}, "Bandit ", h("small", { class: "quiet" }, `${found.policy} on ${metricName(found.metric)}, ${found.better.toLowerCase()} is better; ${found.rule}`)),
    found.arms.length > 0 && arms(found.arms, "Arms", (arm) => `now ${last.weights[arm.version]} %`),
    h("div", { class: "courses" }, shares(found), found.regret.length > 1 && regret(found)),
    found.others.length > 0 && others(found.others),
    verdicts(found));
}

function shares(found) {
  const moves = found.moves, last = moves[moves.length - 1];
  const versions = Object.keys(moves[0].weights);
  const series = versions.map((arm, place) => ({
    name: `${arm} ${last.weights[arm]} %`,
    class: tint(place),
    points: moves.flatMap((move, i) => [[move.at, move.weights[arm]], [i + 1 < moves.length ? moves[i + 1].at : found.until, move.weights[arm]]]),
  }));
  const moved = moves.length - 1;
  return lines(series, [[0, "0 %"], [50, "50 %"], [100, "100 %"]], {
    words: `Shares over time, at last ${series.map((one) => one.name).join(", ")}`,
    caption: `share of each arm; moved ${count(moved)} time${moved === 1 ? "" : "s"}`,
  });
}

function regret(found) {
  const points = found.regret, last = points[points.length - 1];
  const most = Math.max(...points.flatMap((point) => [point.bandit, point.even]), 1e-9);
  const said = `estimated regret ${number(last.bandit, 3)} over ${many(last.units, "unit")}, ${number(last.even, 3)} in equal shares`;
  const series = [
    { name: "this bandit", class: "arm-1", points: points.map((point) => [point.at, point.bandit]) },
    { name: "equal shares", class: "even", points: points.map((point) => [point.at, point.even]) },
  ];
  return lines(series, [[0, "0"], [most, number(most, 3)]], { words: `Regret over time: ${said}`, caption: said });
}
