// What led to what: everything that shares a mark (alert, run, version, rollout), followed to the end.

import { h, dot, token } from "./dom.js";
import { moment, words } from "./format.js";

const KINDS = ["alert", "run", "version", "rollout"];
let seed = null;
let known = null;
let changed = () => {};

export const onChange = (callback) => { changed = callback; };
export const isTracing = () => seed !== null;

export function closure(events, marks) {
  const found = new Set(marks);
  for (let grown = true; grown;) {
    grown = false;
    for (const event of events) {
      if (!event.marks.some((mark) => found.has(mark))) continue;
      for (const mark of event.marks) if (!found.has(mark)) { found.add(mark); grown = true; }
    }
  }
  return found;
}

/** Follow these marks; the same ones again, or none, end it. */
export function trace(marks) {
  const wanted = [marks].flat().filter(Boolean);
  seed = wanted.length === 0 || (seed && seed.join() === wanted.join()) ? null : wanted;
  changed();
}

export function apply(events) {
  known = seed === null ? null : new Set([...closure(events, seed)].map(token));
  document.body.classList.toggle("tracing", known !== null);
  for (const element of document.querySelectorAll("[data-marks]")) {
    const marks = element.dataset.marks.split(" ").filter(Boolean);
    element.classList.toggle("lit", known !== null && marks.some((mark) => known.has(mark)));
  }
}

/** The chain in words: alert -> run -> version -> rollout -> how it ended. */
export function chain(events) {
  if (seed === null) return null;
  const mine = closure(events, seed);
  const links = [];
  for (const kind of KINDS) {
    for (const mark of mine) {
      if (!mark.startsWith(`${kind}:`)) continue;
      const first = events.find((event) => event.marks.includes(mark));
      const name = mark.slice(kind.length + 1);
      const label = kind === "alert" && first ? words(first.reason) : name;
      links.push(h("button", { class: "link", type: "button", "data-key": `chain-${mark}`, onclick: () => goTo(mark) },
        h("small", {}, kind), label));
    }
  }
  const ends = ["Promoted", "RolledBack", "FirstDeployed", "NotPromoted", "TrainingFailed"];
  const last = events.findLast((event) => ends.includes(event.reason) && event.marks.some((mark) => mine.has(mark)));
  if (last) links.push(h("span", { class: "link end" }, dot(last.tone), words(last.reason), h("small", {}, moment(last.at))));
  const arrows = links.flatMap((link, index) => (index ? [h("span", { class: "arrow", "aria-hidden": "true" }, "→"), link] : [link]));
  return h("div", { class: "chain", role: "group", "aria-label": "Lineage" }, arrows,
    h("button", { class: "clear", type: "button", "data-key": "chain-clear", onclick: () => trace(null) }, "clear", h("kbd", {}, "Esc")));
}

function goTo(mark) {
  const home = { alert: "alerts", run: "pipeline", version: "versions", rollout: "rollout" }[mark.split(":")[0]];
  const target = document.querySelector(`#${home} [data-marks~="${CSS.escape(token(mark))}"]`) ?? document.getElementById(home);
  target.scrollIntoView({ block: "center", behavior: "smooth" });
  target.focus?.({ preventScroll: true });
}
