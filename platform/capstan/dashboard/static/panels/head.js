// Who this is, what it does now, how far a replay is, and which parts are up.

import { h, dot, badge } from "../dom.js";
import { root } from "../root.js";
import { clock, count, date, duration, percent, seconds, stretch, telling, zoneShort } from "../format.js";

export function drawHead(page) {
  const { head, clocks } = page;
  return [
    h("div", { class: "who" },
      h("img", { src: new URL("../icon.svg", import.meta.url).href, alt: "", width: 28, height: 28 }),
      h("div", {},
        h("h1", {}, head.name),
        h("p", { class: "quiet" }, [head.objective, `predicts ${head.target || "–"}`].filter(Boolean).join(" · ")))),
    h("div", { class: "phase" }, badge(head.phase, head.tone)),
    h("div", { class: "clocks" },
      clocks.is_replay && face("event time (replay)", clock(clocks.now), `${date(clocks.now)} ${zoneShort(clocks.now)}`),
      face("wall time", h("span", { id: "wall" }, seconds(Date.now())), zoneShort(Date.now()))),
    page.progress && progress(page.progress),
    parts(page),
  ];
}

export function tick() {
  const wall = document.getElementById("wall");
  if (wall) wall.textContent = seconds(Date.now());
}

function face(name, time, under) {
  return h("div", { class: "clock" }, h("small", {}, name), h("b", {}, time), h("small", {}, under));
}

function progress(p) {
  const span = new Date(p.end) - new Date(p.start);
  const share = span > 0 ? Math.min(1, Math.max(0, (new Date(p.position) - new Date(p.start)) / span)) : 0;
  const words = [
    p.total ? `${count(p.sent)} of ${count(p.total)} requests sent` : `${count(p.sent)} requests sent`,
    h("b", { class: p.failed ? "bad-text" : "good-text" }, `${count(p.failed)} failed`),
    p.seconds_left !== null && p.seconds_left !== undefined ? `${duration(p.seconds_left)} left` : "",
  ];
  return h("div", { class: "progress" },
    h("div", { class: "track", role: "progressbar", "aria-label": "Replay", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(share * 100) },
      h("i", { vars: { width: `${share * 100}%` } })),
    h("div", { class: "words" },
      h("span", {}, h("b", {}, percent(share)), ` of ${stretch(p.start, p.end, telling([p.start, p.end]))}`),
      words.filter(Boolean).map((word) => h("span", {}, word))));
}

function parts(page) {
  const away = Object.entries(page.away);
  if (!page.parts.length && !away.length) return null;
  const troubled = page.parts.filter((part) => part.tone === "bad" || part.tone === "warn");
  return h("ul", { class: "parts", "aria-label": "Parts" },
    page.parts.map((part) => h("li", { title: [part.word, part.message, part.restarts ? `restarted ${part.restarts}×` : ""].filter(Boolean).join(" · ") },
      dot(part.tone), part.name,
      (troubled.includes(part) || part.tone === "active") && h("em", {}, part.word),
      part.restarts > 0 && h("small", {}, `↻${part.restarts}`))),
    away.map(([name, reason]) => h("li", { class: "away", title: reason }, dot("warn"), name, h("em", {}, "away"))));
}
