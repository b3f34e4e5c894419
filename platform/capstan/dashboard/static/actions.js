// What a person may ask for now, and why not the rest; each is confirmed in a dialog, with a reason.

import { h, badge, links } from "./dom.js";
import { ask, root, signOut } from "./root.js";

let may = null;
let me = null;
let asked = false;

/** Who this is and what they may do here; asked once, and again after a refusal. */
export async function learn(changed) {
  const [who, rights] = await Promise.all([ask(`${root}api/me`), ask("api/may")]);
  if (who.ok) me = who.body;
  if (rights.ok) may = rights.body;
  changed();
}

export const mayReadLogs = () => may?.log === "";

export function drawActions(page, { learnt }) {
  if (!asked) { asked = true; learn(learnt); }
  if (!page.actions.length) return null;
  const waits = page.actions.some((action) => action.is_awaited);
  return [
    me?.has_list && h("a", { class: "up", href: root, "data-key": "all-systems" }, "← all systems"),
    h("div", { class: "actions", role: "toolbar", "aria-label": "Actions" }, page.actions.map((action) => {
      const why = may?.order || action.why_not;
      const open = action.is_possible && may?.order === "";
      return h("button", {
        type: "button", class: `action${action.is_awaited && open ? " awaited" : ""}`, "data-key": `action-${action.verb}`, "data-verb": action.verb,
        "aria-disabled": String(!open), title: open ? action.what_happens : why, onclick: () => choose(action, learnt),
      }, action.title);
    })),
    waits && badge("waits for a person", "warn"),
    links(page.links, "Elsewhere"),
    me && h("div", { class: "person" }, h("small", {}, me.name), me.can_sign_out && h("button", { type: "button", class: "out", "data-key": "sign-out", onclick: signOut }, "sign out")),
  ];
}

async function choose(action, learnt) {
  if (!may) await learn(learnt);
  const why = may?.order || action.why_not;
  if (action.is_possible && may?.order === "") confirm(action, learnt);
  else explain(action, why || "The page could not learn what you may do here; try again.");
}

function explain(action, why) {
  const close = h("button", { type: "button", class: "action" }, "Close");
  const box = h("dialog", { class: "order", "aria-labelledby": "why-not" }, h("h2", { id: "why-not" }, `${action.title} is not possible now`), h("p", {}, why), h("div", { class: "buttons" }, close));
  close.addEventListener("click", () => box.close());
  show(box);
}

function confirm(action, learnt) {
  const reason = h("textarea", { id: "reason", rows: 3, maxlength: 500, required: true, "aria-describedby": "refused" });
  const version = action.versions.length > 0 && h("select", { id: "version" }, action.versions.map((name) => h("option", { value: name }, name)));
  const refused = h("p", { id: "refused", class: "bad-text", role: "alert" });
  const go = h("button", { type: "submit", class: "action awaited" }, action.title);
  const back = h("button", { type: "button", class: "action" }, "Cancel");
  const form = h("form", {},
    h("h2", { id: "order-title" }, `${action.title} ${document.querySelector("#head h1")?.textContent ?? ""}?`),
    h("p", {}, action.what_happens),
    version && h("label", { for: "version" }, "Version", version),
    h("label", { for: "reason" }, "Why; the story keeps it with your name", reason),
    refused,
    h("div", { class: "buttons" }, back, go));
  const box = h("dialog", { class: "order", "aria-labelledby": "order-title" }, form);
  back.addEventListener("click", () => box.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!reason.value.trim()) { refused.textContent = "A reason is needed, since the story says why."; reason.focus(); return; }
    go.disabled = true;
    const order = { verb: action.verb, reason: reason.value, ...(version && { version: version.value }) };
    const answer = await ask("api/actions", { method: "POST", body: JSON.stringify(order), headers: { "content-type": "application/json" } });
    go.disabled = false;
    if (answer.ok) { box.close(); return; }
    refused.textContent = answer.body.reason ?? `The page answers ${answer.status}.`;
    learn(learnt);
  });
  show(box);
  reason.focus();
}

function show(box) {
  const before = document.activeElement;
  box.addEventListener("close", () => { box.remove(); before?.focus?.(); });
  document.body.append(box);
  box.showModal();
}

/** The end of what a run wrote. */
export async function showLog(run) {
  const text = h("pre", { class: "log", tabindex: 0 }, "…");
  const close = h("button", { type: "button", class: "action" }, "Close");
  const box = h("dialog", { class: "order wide", "aria-labelledby": "log-title" }, h("h2", { id: "log-title" }, `Log of ${run}`), text, h("div", { class: "buttons" }, close));
  close.addEventListener("click", () => box.close());
  show(box);
  const answer = await ask(`api/log?run=${encodeURIComponent(run)}`);
  text.textContent = answer.ok ? answer.body.lines.join("\n") || "It has written nothing yet." : answer.body.reason ?? "There is no log.";
  text.scrollTop = text.scrollHeight;
}
