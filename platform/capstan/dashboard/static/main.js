// Keeps the page equal to the newest snapshot; each panel is drawn again only when its own part has changed.

import { drawActions } from "./actions.js";
import { h, redraw } from "./dom.js";
import { setMetrics, setZone } from "./format.js";
import { apply, isTracing, onChange, trace } from "./lineage.js";
import { drawAlerts } from "./panels/alerts.js";
import { drawDrift, drawQuality } from "./panels/watch.js";
import { drawHead, tick } from "./panels/head.js";
import { drawLoop } from "./panels/loop.js";
import { drawPipeline } from "./panels/pipeline.js";
import { drawRollout } from "./panels/rollout.js";
import { drawStory } from "./panels/story.js";
import { drawTraffic } from "./panels/traffic.js";
import { drawVersions } from "./panels/versions.js";

const events = [];
const drawn = new Map();
let page = null;
let name = null;
let fetching = Promise.resolve();
/** Whether the stream was opened anew since the story was asked for: the store may be another one. */
let isUnsure = true;

const PANELS = [
  ["head", (p) => [p.head, p.clocks, p.progress, p.parts, p.away], drawHead],
  ["acts", (p) => [p.actions, p.links], drawActions],
  ["loop", (p) => [p.loop, p.head.doing], drawLoop],
  ["traffic", (p) => [p.traffic, p.budgets, p.away], drawTraffic],
  ["rollout", (p) => [p.rollout, p.rollouts], drawRollout],
  ["pipeline", (p) => [p.runs, p.retraining, p.batches, p.head.zone], drawPipeline],
  ["versions", (p) => [p.versions], drawVersions],
  ["drift", (p) => [p.watch, p.head.zone], drawDrift],
  ["quality", (p) => [p.watch, p.head.zone], drawQuality],
  ["alerts", (p) => [p.alerts], drawAlerts],
];

function draw(force = false) {
  if (!page) return;
  setZone(page.head.zone);
  setMetrics(page.metrics);
  document.title = `${page.head.name} · ${page.head.phase}`;
  for (const [id, slice, panel] of PANELS) {
    const text = JSON.stringify(slice(page)) + (id === "pipeline" ? panel.shown ?? "" : "");
    if (!force && drawn.get(id) === text) continue;
    drawn.set(id, text);
    const container = document.querySelector(`#${id} .body`) ?? document.getElementById(id);
    redraw(container, panel(page, { redraw: () => draw(true), learnt: () => draw(true) }));
  }
  const told = `${events.length}/${isTracing()}/${page.head.zone}`;
  if (force || drawn.get("story") !== told) drawStoryNow(told);
  apply(events);
}

function drawStoryNow(told) {
  drawn.set("story", told);
  redraw(document.querySelector("#story .body"), drawStory(events, { redraw: () => draw(true) }));
}

function take(snapshot) {
  // The root means another system once its own has left: its story must not stand under the other's name.
  if (name !== null && snapshot.head.name !== name) return location.reload();
  name = snapshot.head.name;
  page = snapshot;
  show(true);
  banner(null);
  draw();
  if (isUnsure || page.last_event !== (events[events.length - 1]?.number ?? 0)) fetching = fetching.then(more);
}

// The last event that is known is asked for once more. A store that was made anew under the same name does not have it:
// then the page begins anew too, since the old story must not stand above the new one.
async function more() {
  const last = events[events.length - 1];
  if (!page || (!isUnsure && page.last_event === (last?.number ?? 0))) return;
  const answer = await fetch(`api/events?after=${last ? last.number - 1 : 0}`);
  if (!answer.ok) return;
  isUnsure = false;
  const found = (await answer.json()).events;
  if (last && !found.some((event) => event.number === last.number && event.at === last.at)) return location.reload();
  events.push(...found.filter((event) => event.number > (last?.number ?? 0)));
  draw();
}

function banner(text, title = "Not live. ") {
  const box = document.getElementById("banner");
  box.hidden = text === null;
  box.replaceChildren(...(text === null ? [] : [h("strong", {}, title), text]));
}

function show(visible) {
  for (const part of document.querySelectorAll("main, #head, #acts")) part.hidden = !visible;
}

// Why the stream ended: the session is over, the person may not see the system, it left, it started anew, or the page is
// away.
async function ended() {
  const answer = await fetch("api/state").catch(() => null);
  if (answer?.status === 401) return location.reload();
  if (answer?.status === 403 || answer?.status === 404) {
    page = null;
    drawn.clear();
    show(false);
    banner((await answer.json()).reason, "");
    return setTimeout(listen, 10000);
  }
  return setTimeout(listen, 2000);
}

let stream = null;
let heard = 0;
const SILENCE = 45_000;

// A machine that dies closes no connection: only its silence tells.
function watch() {
  if (stream === null || Date.now() - heard < SILENCE) return;
  stream.close();
  if (page) lost();
  listen();
}

const lost = () => banner("The page has lost its connection and tries again; what you see may be old.");

function over() {
  stream?.close();
  stream = null;
  ended();
}

function listen() {
  stream = new EventSource("api/stream");
  isUnsure = true;
  heard = Date.now();
  for (const kind of ["snapshot", "away", "alive"]) stream.addEventListener(kind, () => { heard = Date.now(); });
  stream.addEventListener("snapshot", (message) => take(JSON.parse(message.data)));
  stream.addEventListener("away", (message) => banner(JSON.parse(message.data).reason));
  stream.addEventListener("locked", over);
  stream.addEventListener("error", () => {
    if (page) lost();
    if (stream?.readyState === EventSource.CLOSED) over();
  });
}

onChange(() => draw(true));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isTracing()) trace(null);
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "")) {
    event.preventDefault();
    document.querySelector("#story input")?.focus();
  }
});
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  draw(true);
});
setInterval(() => tick(), 1000);
setInterval(watch, 5000);
listen();
