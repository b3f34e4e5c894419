// What fires now and what fired before.

import { h, badge, dot, empty, version } from "../dom.js";
import { moment, stretch, telling, words } from "../format.js";
import { trace } from "../lineage.js";
import { drawReason } from "./reason.js";

export function drawAlerts(page) {
  const last = page.watch.windows[page.watch.windows.length - 1];
  if (!page.alerts.length && last && !last.is_judged) return empty("No alert, but nothing was judged", `The newest window says nothing about drift: ${last.gap}.`);
  if (!page.alerts.length) return empty("No alert yet", "When drift, missing values, quality or operation leave their bounds, the alert appears here and may start a training.");
  const firing = page.alerts.filter((alert) => alert.is_firing);
  const before = page.alerts.filter((alert) => !alert.is_firing);
  const told = telling(before.flatMap((alert) => [alert.fired_at, alert.resolved_at]));
  return [
    firing.length ? h("ul", { class: "firing" }, firing.map(now)) : calm(page),
    before.length > 0 && h("ol", { class: "past", "data-scroll": "alerts", tabindex: -1 }, before.map((alert) => past(alert, told))),
  ];
}

// Calm is only what was looked at.
function calm(page) {
  const last = page.watch.windows[page.watch.windows.length - 1];
  if (last && last.is_judged) return h("p", { class: "calm" }, dot("good"), "Nothing fires now.");
  return h("p", { class: "calm" }, dot("idle"), last ? "Nothing fires now, but the newest window was not judged." : "Nothing fires now; no window has closed yet.");
}

function now(alert) {
  return h("li", {}, h("button", { type: "button", marks: alert.mark, "data-key": alert.mark, onclick: () => trace(alert.mark) },
    badge(words(alert.name), "warn"), alert.version && version(alert.version), h("small", {}, `since ${moment(alert.fired_at)}`), h("p", {}, alert.summary)), drawReason(alert.why));
}

function past(alert, told) {
  return h("li", {}, h("button", { type: "button", marks: alert.mark, "data-key": `${alert.mark}/${alert.fired_at}`, title: alert.summary, onclick: () => trace(alert.mark) },
    dot("idle"), h("b", {}, words(alert.name)), alert.version && version(alert.version), h("small", {}, stretch(alert.fired_at, alert.resolved_at, { ...told, date: told.day })), h("p", {}, alert.summary)), drawReason(alert.why, `why-${alert.mark}/${alert.fired_at}`));
}
