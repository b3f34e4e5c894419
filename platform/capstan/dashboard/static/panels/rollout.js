// A challenger on its way: the track of steps, the evidence, the interval around zero and the verdicts.

import { h, s, badge, dot, empty, version } from "../dom.js";
import { count, moment, metricName, percent, signed, telling, words } from "../format.js";
import { trace } from "../lineage.js";
import { bandit } from "./bandit.js";
import { experiment } from "./experiment.js";
import { comparison } from "./comparison.js";
import { preference } from "./preference.js";
import { bounds } from "./sequence.js";

export function drawRollout(page) {
  const rollout = page.rollout;
  if (!rollout) {
    return empty("No rollout yet", "When a trained model has passed its gates it appears here as a challenger: copies of requests first, then a share of them, judged at every step.");
  }
  const earlier = page.rollouts.filter((other) => other.name !== rollout.name).slice(0, 6);
  const told = telling(earlier.map((other) => other.finished_at));
  return [
    h("button", { type: "button", class: "contest", marks: rollout.mark, "data-key": rollout.mark, onclick: () => trace(rollout.mark) },
      version(rollout.challenger, rollout.champion ? "challenger" : "champion"),
      rollout.champion && h("span", { class: "quiet" }, " against "),
      rollout.champion && version(rollout.champion, "champion"),
      badge(rollout.phase, rollout.tone),
      rollout.held && badge(words(rollout.held), "warn"),
      h("small", { class: "quiet" }, rollout.is_active ? since(rollout) : ended(rollout))),
    h("ol", { class: "steps" }, rollout.steps.map((step) =>
      h("li", { class: `${step.tone}${step.is_current ? " current" : ""}`, "aria-current": step.is_current ? "step" : undefined },
        h("b", {}, step.name), h("small", {}, step.detail || " ")))),
    ahead(rollout),
    rollout.is_active && h("div", { class: "evidence" },
      rollout.amounts.length > 0 && h("div", { class: "amounts" }, rollout.amounts.map(amount),
        rollout.disagreement !== null && h("p", { class: "quiet" }, `they disagree on ${percent(rollout.disagreement, 1)} of requests`)),
      rollout.interval && interval(rollout.interval)),
    rollout.experiment && experiment(rollout.experiment),
    rollout.bandit && bandit(rollout.bandit),
    rollout.preference && preference(rollout.preference),
    rollout.is_active && rollout.comparison && comparison(rollout.comparison),
    rollout.is_active && rollout.verdicts.length > 0 && h("ul", { class: "verdicts whole" }, rollout.verdicts.map((verdict) =>
      h("li", {}, badge(verdict.outcome, verdict.tone), h("div", {}, h("b", {}, verdict.name), " ", verdict.message)))),
    !rollout.is_active && rollout.why && h("p", { class: "why" }, h("b", {}, "Why: "), why(rollout)),
    earlier.length > 0 && h("ul", { class: "earlier", "aria-label": "Earlier rollouts" }, earlier.map((other) =>
      h("li", {}, h("button", { type: "button", marks: other.mark, "data-key": other.mark, title: other.why, onclick: () => trace(other.mark) },
        dot(other.tone), other.challenger, h("small", {}, other.phase.toLowerCase(), other.finished_at ? ` ${told.day(other.finished_at)}` : ""))))),
  ];
}

/** How long its experiments take, as long as it runs, and which further versions take no part. */
function ahead(rollout) {
  const absent = Object.entries(rollout.left).map(([arm, reason]) => `${arm} takes no part: ${reason}`);
  const lines = [...(rollout.is_active ? rollout.forecasts : []), ...absent];
  return lines.length > 0 && h("ul", { class: "told" }, lines.map((line) => h("li", {}, line)));
}

/** A sentence that stands above is not said twice. */
const why = (rollout) => [rollout.experiment, rollout.bandit, rollout.preference].filter(Boolean)
  .flatMap((step) => step.verdicts)
  .reduce((text, verdict) => text.replace(verdict.message, "as above"), rollout.why);

const since = (rollout) => (rollout.started_at ? `since ${moment(rollout.started_at)}` : "");
const ended = (rollout) => (rollout.finished_at ? `${moment(rollout.finished_at)}; none in progress` : "");

function amount({ name, have, need }) {
  const share = need > 0 ? Math.min(1, have / need) : 1;
  return h("div", { class: `amount${share >= 1 ? " enough" : ""}` },
    h("span", {}, h("b", {}, count(have)), need > 0 ? ` of ${count(need)} ${name}` : ` ${name}`),
    need > 0 && h("div", { class: "track", role: "img", "aria-label": `${have} of ${need} ${name}` }, h("i", { vars: { width: `${share * 100}%` } })));
}

function interval(found) {
  const W = 420, H = 112, top = 30, middle = 46;
  const means = found.blocks.map(([, mean]) => mean);
  const ends = [found.lower, found.upper, found.difference, found.reject_below, found.promote_above, 0, ...means].filter((v) => v !== null);
  const reach = Math.max(...ends.map(Math.abs), 1e-6) * 1.15;
  const x = (value) => W / 2 + (Math.max(-reach, Math.min(reach, value)) / reach) * (W / 2 - 8);
  const left = found.lower === null ? 4 : x(found.lower);
  const right = found.upper === null ? W - 4 : x(found.upper);
  const better = found.decide === "Better" || found.decide === "NotWorse";
  const words = `${metricName(found.metric)} difference ${signed(found.difference)} per request, ${bounds(found)}`;
  const sure = found.lower === null && found.upper === null ? "" : `${found.is_two_sided ? "two-sided" : "one-sided"} ${percent(1 - found.alpha)} `;
  const rows = found.blocks.slice(-14), told = telling(rows.map(([start]) => start));
  return h("figure", { class: "interval" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": words },
      s("rect", { class: "worse", x: 0, y: 18, width: Math.max(0, x(found.reject_below)), height: 74 }),
      better && s("rect", { class: "better", x: x(found.promote_above), y: 18, width: Math.max(0, W - x(found.promote_above)), height: 74 }),
      s("line", { class: "zero", x1: x(0), x2: x(0), y1: 14, y2: 96 }),
      found.reject_below !== 0 && s("line", { class: "margin", x1: x(found.reject_below), x2: x(found.reject_below), y1: 18, y2: 92 }),
      s("text", { x: 4, y: 11 }, "← champion better"),
      s("text", { x: W - 4, y: 11, "text-anchor": "end" }, "challenger better →"),
      s("line", { class: "reach", x1: left, x2: right, y1: middle - 4, y2: middle - 4 }),
      found.lower !== null && s("line", { class: "reach end", x1: left, x2: left, y1: top + 3, y2: middle + 5 }),
      found.upper !== null && s("line", { class: "reach end", x1: right, x2: right, y1: top + 3, y2: middle + 5 }),
      s("circle", { class: "point", cx: x(found.difference), cy: middle - 4, r: 5.5 }),
      rows.map(([start, mean], i) => s("circle", { class: "block", cx: x(mean), cy: 66 + (i % 5) * 5, r: 2.4 }, s("title", {}, `${told.day(start)}: ${signed(mean)}`))),
      s("text", { x: x(0) + 3, y: 108 }, "0, no difference"),
      found.reject_below !== 0 && s("text", { x: x(found.reject_below) - 3, y: 108, "text-anchor": "end" }, `worse than the margin ${signed(found.reject_below, 3)}`)),
    h("figcaption", {}, h("b", {}, signed(found.difference)), ` ${metricName(found.metric)} per request, ${sure}${bounds(found)}; rule ${found.decide}${found.merged ? `; ${found.merged}` : ""}`));
}

