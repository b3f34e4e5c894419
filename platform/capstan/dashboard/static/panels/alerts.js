// What fires now and what fired before.

import { h, badge, dot, empty, version } from "../dom.js";
import { day, moment, words } from "../format.js";
import { trace } from "../lineage.js";

export function drawAlerts(page) {
  if (!page.alerts.length) return empty("No alert yet", "When drift, missing values, quality or operation leave their bounds, the alert appears here and may start a training.");
  const firing = page.alerts.filter((alert) => alert.is_firing);
  const before = page.alerts.filter((alert) => !alert.is_firing);
  return [
    firing.length ? h("ul", { class: "firing" }, firing.map(now)) : h("p", { class: "calm" }, dot("good"), "Nothing fires now."),
    before.length > 0 && h("ol", { class: "past", "data-scroll": "alerts", tabindex: -1 }, before.map(past)),
  ];
}

function now(alert) {
  return h("li", {}, h("button", { type: "button", marks: alert.mark, "data-key": alert.mark, onclick: () => trace(alert.mark) },
    badge(words(alert.name), "warn"), alert.version && version(alert.version), h("small", {}, `since ${moment(alert.fired_at)}`), h("p", {}, alert.summary)));
}

function past(alert) {
  return h("li", {}, h("button", { type: "button", marks: alert.mark, "data-key": `${alert.mark}/${alert.fired_at}`, title: alert.summary, onclick: () => trace(alert.mark) },
    dot("idle"), h("b", {}, words(alert.name)), alert.version && version(alert.version), h("small", {}, `${day(alert.fired_at)} – ${day(alert.resolved_at)}`), h("p", {}, alert.summary)));
}
