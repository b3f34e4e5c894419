// All systems that this person may see: those that need somebody first, each with a link to its own page.

import { h, badge, dot, empty, redraw } from "./dom.js";
import { count, words } from "./format.js";
import { ask, root, signOut } from "./root.js";

const SECONDS = 5;
let search = "";
let newest = null;
let me = null;

async function look() {
  const answer = await ask(`${root}api/systems`).catch(() => null);
  const text = answer?.ok ? null : answer?.body.reason ?? "The page has lost its connection and tries again; what you see may be old.";
  const banner = document.getElementById("banner");
  banner.hidden = text === null;
  banner.replaceChildren(...(text === null ? [] : [h("strong", {}, "Not live. "), text]));
  if (answer?.ok) { newest = answer.body; draw(); }
  setTimeout(look, SECONDS * 1000);
}

function draw() {
  if (!newest) return;
  const all = newest.systems;
  const wanted = all.filter((one) => !search || `${one.namespace}/${one.name} ${one.phase} ${one.champion} ${one.objective}`.toLowerCase().includes(search));
  wanted.sort((a, b) => rank(a) - rank(b) || `${a.namespace}/${a.name}`.localeCompare(`${b.namespace}/${b.name}`));
  const waiting = all.filter((one) => one.waits_for_a_person).length, firing = all.filter((one) => one.alerts).length;
  document.getElementById("told").textContent = [`${count(all.length)} ${all.length === 1 ? "system" : "systems"}`, waiting && `${count(waiting)} waiting for a person`, firing && `${count(firing)} with alerts`].filter(Boolean).join(" · ");
  redraw(document.getElementById("person"), me && h("small", {}, me.name), me?.can_sign_out && h("button", { type: "button", class: "out", "data-key": "sign-out", onclick: signOut }, "sign out"));
  redraw(document.getElementById("systems"), all.length ? [finder(), table(wanted)] : nothing());
}

const rank = (one) => (one.waits_for_a_person ? 0 : one.tone === "bad" ? 1 : one.alerts ? 2 : one.tone === "active" ? 3 : 4);

function nothing() {
  if (newest.hidden) return empty("You may see no system here", `${newest.viewer} may not get MLSystems in any namespace that has some. Ask for the role view in a namespace: kubectl create rolebinding see-systems --clusterrole=view --user=${newest.viewer} -n NAMESPACE`);
  return empty("No system yet", "kubectl apply -f system.yaml makes one; it appears here within seconds.");
}

function finder() {
  return h("input", { type: "search", placeholder: "find  /", "aria-label": "Find a system", "data-key": "search", value: search,
    oninput: (e) => { search = e.target.value.toLowerCase(); draw(); const box = document.querySelector("#systems input"); box.focus(); box.setSelectionRange(box.value.length, box.value.length); } });
}

function table(systems) {
  const heads = [["System"], ["Phase"], ["Champion"], ["Challenger"], ["Last verdict", "optional"], ["Alerts"], ["Waits for", "wide"]];
  return h("table", { class: "systems" },
    h("thead", {}, h("tr", {}, heads.map(([name, more]) => h("th", { scope: "col", class: more }, name)))),
    h("tbody", {}, systems.map(row), systems.length === 0 && h("tr", {}, h("td", { colspan: heads.length, class: "quiet" }, "Nothing matches."))));
}

function row(one) {
  const address = `${root}systems/${encodeURIComponent(one.namespace)}/${encodeURIComponent(one.name)}/`;
  return h("tr", { "data-system": `${one.namespace}/${one.name}`, class: one.waits_for_a_person ? "waits" : "" },
    h("th", { scope: "row" }, h("a", { href: address, "data-key": `system-${one.namespace}-${one.name}` }, one.name), h("small", {}, one.namespace)),
    h("td", { "data-name": "phase" }, badge(words(one.phase), one.tone)),
    h("td", { "data-name": "champion" }, arm(one.champion, one.champion_weight)),
    h("td", { "data-name": "challenger" }, arm(one.challenger, one.challenger_weight)),
    h("td", { class: one.verdict ? "verdict" : "optional", "data-name": "verdict" }, one.verdict ? [dot(one.verdict_tone), one.verdict] : h("span", { class: "quiet" }, "–")),
    h("td", { "data-name": "alerts" }, one.alerts ? h("span", { class: "firing", title: one.alert_names.map(words).join(", ") }, dot("warn"), `${count(one.alerts)} ${one.alerts === 1 ? "fires" : "fire"}`) : h("span", { class: "quiet" }, one.drift ? words(one.drift).toLowerCase() : "–")),
    h("td", { class: "wide", "data-name": "waits" }, one.waits_for_a_person ? h("b", { class: "warn-text" }, one.waits_for_a_person) : h("span", { class: "quiet" }, one.message)));
}

const arm = (name, weight) => (name ? [name, weight !== null && h("small", {}, ` ${weight} %`)] : h("span", { class: "quiet" }, "–"));

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "")) {
    event.preventDefault();
    document.querySelector("#systems input")?.focus();
  }
});
ask(`${root}api/me`).then((answer) => { if (answer.ok) { me = answer.body; draw(); } });
look();
