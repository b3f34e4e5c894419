// Everything that was decided, the newest first; a click follows what led to it and what came of it.

import { h, dot, empty } from "../dom.js";
import { date, moment, words } from "../format.js";
import { chain, isTracing, trace } from "../lineage.js";

const GROUPS = [["", "all"], ["alert", "alerts"], ["training", "training"], ["rollout", "rollouts"], ["command", "people"], ["operation", "operation"]];
const MOST = 400;
let group = "";
let search = "";

export function drawStory(events, { redraw }) {
  if (!events.length) return empty("Nothing has happened yet", "Every alert, training, verdict, promotion and rollback will stand here in one sentence, with its reason.");
  const wanted = events.filter((e) => (!group || e.group === group) && (!search || `${e.reason} ${words(e.reason)} ${e.message} ${e.name}`.toLowerCase().includes(search)));
  let before = "";
  return [
    h("div", { class: "filter", role: "toolbar", "aria-label": "Filter" },
      h("div", { class: "choices" }, GROUPS.map(([id, name]) => {
        const number = id ? events.filter((e) => e.group === id).length : events.length;
        if (id && !number) return null;
        return h("button", { type: "button", "data-key": `group-${id}`, "aria-pressed": String(group === id), onclick: () => { group = id; redraw(); } }, name, h("small", {}, String(number)));
      })),
      h("input", { type: "search", placeholder: "find  /", "aria-label": "Find in the story", "data-key": "search", value: search,
        oninput: (e) => { search = e.target.value.toLowerCase(); redraw(); const box = document.querySelector("#story input"); box.focus(); box.setSelectionRange(box.value.length, box.value.length); } })),
    chain(events),
    h("ol", { class: `lines${isTracing() ? " tracing" : ""}`, "data-scroll": "story", tabindex: -1 }, wanted.length === 0 && h("li", { class: "quiet pad" }, "Nothing matches."),
      wanted.slice(-MOST).reverse().map((event) => {
        const today = date(event.at);
        const header = today !== before && h("li", { class: "day" }, today);
        before = today;
        return [header, line(event)];
      })),
  ];
}

function line(event) {
  return h("li", {}, h("button", { type: "button", class: `line ${event.tone}`, marks: event.marks, "data-key": `event-${event.number}`, "data-event": event.number, "aria-label": `${words(event.reason)}: ${event.message}`, onclick: () => trace(event.marks) },
    h("time", { datetime: event.at }, moment(event.at).split(" ").pop()), dot(event.tone),
    h("span", { class: "text" }, h("b", {}, words(event.reason)), " ", event.message)));
}
