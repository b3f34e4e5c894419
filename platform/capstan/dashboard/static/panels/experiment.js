// An experiment: who got how many units, each arm's difference from the champion over time between its bounds, and the verdicts.

import { h, badge, version } from "../dom.js";
import { count, many, metricName, number, percent, signed } from "../format.js";
import { bound, bounds, sequence, tint } from "./sequence.js";

export function experiment(found) {
  const rivals = found.arms.map((arm, place) => ({ ...arm, place })).filter((arm) => arm.role !== "champion");
  return h("div", { class: "online", role: "group", "aria-label": "Experiment" },
    h("h3", {}, "Experiment ", h("small", { class: "quiet" }, `${metricName(found.metric)} per unit, ${found.better.toLowerCase()} is better; ${found.rule}`)),
    arms(found.arms, "Arms", (arm) => percent(arm.wanted / 100)),
    found.crossed > 0 && h("p", { class: "quiet" }, `${many(found.crossed, "unit")} met a second arm; each counts in its first`),
    h("div", { class: "courses" }, rivals.filter((arm) => arm.series.length > 0).map((arm) => course(found, arm))),
    found.has_one_look && rivals.every((arm) => arm.series.length === 0) && h("p", { class: "quiet" }, "Differences are known at the one look, when the duration is over"),
    found.others.length > 0 && others(found.others),
    verdicts(found));
}

/** Units, shares, means and differences of arms. */
export function arms(all, title, wanted) {
  const every = all.reduce((sum, arm) => sum + arm.assigned, 0);
  return h("div", { class: "scroll" }, h("table", { "aria-label": title },
    h("thead", {}, h("tr", {}, ["arm", "units", "share", "wanted", "known", "mean", "difference [bounds]"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, all.map((arm, place) => h("tr", {},
      h("th", { scope: "row" }, version(arm.version, tint(place))),
      h("td", {}, count(arm.assigned)),
      h("td", {}, every > 0 ? percent(arm.assigned / every, 1) : "–"),
      h("td", {}, wanted(arm)),
      h("td", {}, count(arm.units)),
      h("td", {}, number(arm.mean, 3)),
      h("td", {}, difference(arm)))))));
}

/** Guardrails and secondary metrics by arm. */
export function others(metrics) {
  return h("div", { class: "scroll" }, h("table", { "aria-label": "Other metrics" },
    h("thead", {}, h("tr", {}, ["metric", "arm", "known", "mean", "difference [bounds]"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, metrics.map((metric) => metric.arms.map((arm, place) => h("tr", {},
      h("th", { scope: "row" }, place === 0 && [metricName(metric.metric), h("small", {}, ` ${metric.purpose}, ${metric.better.toLowerCase()} is better`)]),
      h("td", {}, version(arm.version, tint(place))),
      h("td", {}, count(arm.units)),
      h("td", {}, number(arm.mean, 3)),
      h("td", {}, difference(arm))))))));
}

const difference = (arm) => (arm.difference === null ? "–" : arm.lower === null && arm.upper === null ? "not known yet"
  : [`${signed(arm.difference)} `, h("span", { class: "bounds" }, `[${bound(arm.lower)}, ${bound(arm.upper)}]`)]);

function course(found, arm) {
  const last = arm.series[arm.series.length - 1];
  const looks = found.has_one_look ? "that hold at this look" : "that hold at every look";
  const said = `${signed(last.difference)} ${metricName(found.metric)} per unit in its favour, ${bounds(last)} ${looks}`;
  return sequence(arm.series, {
    levels: [found.promote_above, found.reject_below],
    words: `${metricName(found.metric)} of ${arm.version} against the champion by day, at last ${said}`,
    tint: tint(arm.place),
    caption: [version(arm.version, tint(arm.place)), ` ${said}`],
  });
}

/** Sample ratio and the last verdicts; the rollout tells those of a step that runs. */
export function verdicts(found) {
  const told = [found.ratio, ...(found.is_running ? [] : found.verdicts)].filter(Boolean);
  return told.length > 0 && h("ul", { class: "verdicts whole" }, told.map((verdict) =>
    h("li", {}, badge(verdict.outcome, verdict.tone), h("div", {}, h("b", {}, verdict.name), " ", verdict.message))));
}
