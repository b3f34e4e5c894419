// An experiment: who got how many units, and each arm's difference from the champion over time between its bounds.

import { h, s, version } from "../dom.js";
import { count, day, metricName, percent, signed } from "../format.js";

export function experiment(found) {
  const all = found.arms.reduce((sum, arm) => sum + arm.assigned, 0);
  const rivals = found.arms.filter((arm) => arm.role !== "champion");
  return h("div", { class: "experiment" },
    h("table", {},
      h("caption", {}, `${metricName(found.metric)}, ${found.better.toLowerCase()} is better; ${found.rule}`),
      h("thead", {}, h("tr", {}, ["arm", "units", "share", "wanted", "with outcome", "mean", "difference"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, found.arms.map((arm) => h("tr", {},
        h("th", { scope: "row" }, version(arm.version, arm.role)),
        h("td", {}, count(arm.assigned)),
        h("td", {}, all > 0 ? percent(arm.assigned / all, 1) : "-"),
        h("td", {}, percent(arm.wanted / 100)),
        h("td", {}, count(arm.units)),
        h("td", {}, arm.mean === null ? "-" : arm.mean.toPrecision(4)),
        h("td", {}, arm.difference === null ? "-" : `${signed(arm.difference)} [${bound(arm.lower)}, ${bound(arm.upper)}]`))))),
    found.crossed > 0 && h("p", { class: "quiet" }, `${count(found.crossed)} units met a second arm; each counts in its first`),
    rivals.filter((arm) => arm.series.length > 0).map((arm) => sequence(found, arm)));
}

const bound = (value) => (value === null ? "open" : signed(value));

function sequence(found, arm) {
  const W = 420, H = 130, left = 44, top = 8, bottom = 112;
  const points = arm.series;
  const finite = points.flatMap((p) => [p.difference, p.lower, p.upper]).filter((v) => v !== null);
  const levels = [0, found.promote_above, found.reject_below];
  // The widest early bounds would flatten what matters: the frame holds the later half of them.
  const later = points.slice(Math.floor(points.length / 2)).flatMap((p) => [p.lower, p.upper]).filter((v) => v !== null);
  const reach = Math.max(...(later.length ? later : finite).map(Math.abs), ...levels.map(Math.abs), ...points.map((p) => Math.abs(p.difference)), 1e-9) * 1.25;
  const x = (i) => left + (points.length > 1 ? i / (points.length - 1) : 0.5) * (W - left - 8);
  const y = (value) => top + (1 - (Math.max(-reach, Math.min(reach, value)) + reach) / (2 * reach)) * (bottom - top);
  const upper = points.map((p, i) => `${x(i)},${y(p.upper ?? reach)}`);
  const lower = points.map((p, i) => `${x(i)},${y(p.lower ?? -reach)}`).reverse();
  const last = points[points.length - 1];
  const words = `${metricName(found.metric)} of ${arm.version} against the champion by day: at last ${signed(last.difference)}, bounds ${bound(last.lower)} to ${bound(last.upper)}, positive favours ${arm.version}`;
  const level = (value, name) => [
    s("line", { class: value === 0 ? "zero" : "margin", x1: left, x2: W - 8, y1: y(value), y2: y(value) }),
    s("text", { x: left - 4, y: y(value) + 3, "text-anchor": "end" }, name)];
  return h("figure", { class: "sequence" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": words },
      level(0, "0"),
      found.promote_above !== 0 && level(found.promote_above, signed(found.promote_above, 2)),
      found.reject_below !== 0 && found.reject_below !== found.promote_above && level(found.reject_below, signed(found.reject_below, 2)),
      s("polygon", { class: "band", points: [...upper, ...lower].join(" ") }),
      s("polyline", { class: "path", points: points.map((p, i) => `${x(i)},${y(p.difference)}`).join(" ") }),
      points.map((p, i) => s("circle", { class: "block", cx: x(i), cy: y(p.difference), r: 2.4 },
        s("title", {}, `${day(p.at)}: ${signed(p.difference)}, bounds ${bound(p.lower)} to ${bound(p.upper)}, ${count(p.units)} units`))),
      s("text", { x: left, y: H - 4 }, day(points[0].at)),
      s("text", { x: W - 8, y: H - 4, "text-anchor": "end" }, day(last.at))),
    h("figcaption", {}, version(arm.version, arm.role), ` ${signed(last.difference)} ${metricName(found.metric)} per unit in its favour, bounds ${bound(last.lower)} to ${bound(last.upper)} that hold at every look`));
}
