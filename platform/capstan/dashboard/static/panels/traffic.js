// Which version gets which share, how it does, and the last minutes as lines.

import { h, s, empty, version } from "../dom.js";
import { count, latency, many, metric, percent, rate } from "../format.js";

export function drawTraffic(page) {
  const traffic = page.traffic;
  if (!traffic.arms.length) {
    if (page.away.gateway) return empty("The gateway does not answer", page.away.gateway);
    return empty("No traffic yet", "As soon as the first model is deployed, it gets all requests, and they are counted here.");
  }
  return [splitBar(traffic), traffic.trouble && h("p", { class: "bad-text", role: "status" }, traffic.trouble), table(traffic), spark(traffic), totals(traffic.totals), promises(page.budgets)];
}

function splitBar({ arms, mirrors }) {
  const label = arms.map((arm) => `${arm.version} ${arm.percent} %`).join(", ");
  return h("div", { class: "split" },
    h("div", { class: "bar", role: "img", "aria-label": `Requests: ${label}` },
      arms.filter((arm) => arm.percent > 0).map((arm) =>
        h("span", { class: `arm ${arm.role}`, vars: { "flex-grow": String(arm.percent) } },
          h("b", {}, arm.version), h("span", {}, `${arm.percent} %`), arm.percent >= 30 && h("small", {}, arm.role)))),
    mirrors.map((mirror) => h("div", { class: "mirror" },
      h("span", { class: "hatch", vars: { width: `${mirror.percent}%` } }),
      h("small", {}, "copies of ", h("b", {}, `${mirror.percent} %`), " to ", version(mirror.version, "challenger"), ", answers thrown away"))));
}

function table({ versions }) {
  if (!versions.length) return h("p", { class: "quiet pad" }, "No requests in the last half minute.");
  return h("table", { class: "numbers" },
    h("thead", {}, h("tr", {}, ["", "req/s", "refused", "errors", "p50", "p99"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, versions.map((row) => {
      const shareOf = (part) => row.requests_per_second > 0 ? part / row.requests_per_second : 0;
      const share = shareOf(row.errors_per_second), refused = shareOf(row.refused_per_second);
      return h("tr", {},
        h("th", { scope: "row" }, version(row.version, row.role), " ", h("small", {}, row.role)),
        h("td", {}, rate(row.requests_per_second)),
        h("td", { title: "answered 4xx: the request broke a rule" }, percent(refused, refused > 0 && refused < 0.1 ? 2 : 0)),
        h("td", { class: share > 0 ? "bad-text" : "" }, percent(share, share > 0 && share < 0.1 ? 2 : 0)),
        h("td", {}, latency(row.p50_seconds)),
        h("td", {}, latency(row.p99_seconds)));
    })));
}

function spark({ history }) {
  if (history.length < 2) return null;
  const W = 400, H = 44;
  const totalOf = (sample) => Object.values(sample.requests_per_second).reduce((a, b) => a + b, 0);
  const most = Math.max(...history.map(totalOf), 1e-9);
  const at = (sample) => new Date(sample.at).getTime();
  const first = at(history[0]), span = Math.max(at(history[history.length - 1]) - first, 1);
  const x = (i) => ((at(history[i]) - first) / span) * W;
  const y = (v) => H - 2 - (v / most) * (H - 6);
  const line = history.map((sample, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(totalOf(sample)).toFixed(1)}`).join("");
  const minutes = span / 60000;
  return h("figure", { class: "spark" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": `Requests per second, at most ${rate(most)}` },
      s("path", { class: "area", d: `${line}L${W} ${H}L0 ${H}Z` }), s("path", { class: "line", d: line })),
    h("figcaption", {}, h("span", {}, `requests/s, last ${minutes < 1 ? "minute" : `${Math.round(minutes)} min`} (wall time)`), h("span", {}, `peak ${rate(most)}`)));
}

function totals(t) {
  const items = [
    ["answered", t.answered], ["refused", t.refused], ["failed", t.failed, "bad"], ["payloads stored", t.stored], ["lost", t.lost, "bad"], ["labels", t.labels],
  ].filter(([, value]) => value !== null && value !== undefined);
  if (!items.length) return null;
  return h("dl", { class: "totals" }, items.map(([name, value, bad]) =>
    h("div", {}, h("dt", {}, name), h("dd", { class: bad ? (value ? "bad-text" : "good-text") : "" }, count(value)))));
}

// What is left of the share of each promise that may fail.
function promises(budgets) {
  if (!budgets.length) return null;
  return h("table", { class: "numbers promises" },
    h("caption", {}, "promises to users, and what is left of the share that may fail"),
    h("thead", {}, h("tr", {}, ["promise", "budget left", "last hour"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, budgets.map((one) => {
      const left = one.left === null ? 0 : Math.max(0, Math.min(1, one.left));
      const tone = one.left === null ? "quiet" : one.left <= 0 ? "bad-text" : "";
      return h("tr", {},
        h("th", { scope: "row" }, one.name, " ", h("small", {}, one.promise)),
        h("td", { class: tone, title: `of ${many(one.window_days, "day")}` }, one.left === null ? "nothing counted" : one.left < 0 ? "overdrawn" : percent(left),
          one.left !== null && h("div", { class: "track" }, h("i", { class: one.left <= 0.1 ? "bad" : "", vars: { width: `${100 * left}%` } }))),
        h("td", { class: one.burn_rate !== null && one.burn_rate > 1 ? "bad-text" : "", title: "how many times as often as it may it fails" }, one.burn_rate === null ? "–" : `${metric(one.burn_rate, 1)} ×`));
    })));
}
