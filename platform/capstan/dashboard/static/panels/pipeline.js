// The training run: its steps with candidates side by side, the table of candidates, the gates, and the runs before it.

import { h, badge, dot, empty, links } from "../dom.js";
import { count, duration, isLowerBetter, metric, metricName, moment, telling } from "../format.js";
import { mayReadLogs, showLog } from "../actions.js";
import { trace } from "../lineage.js";

let picked = null;

export function drawPipeline(page, { redraw }) {
  if (!page.runs.length) {
    return [empty("No training yet", "The first run starts as soon as the system is up; later ones start when an alert, a schedule, new data or a person asks."), batches(page.batches)];
  }
  const active = page.runs.find((run) => run.tone === "active");
  const run = page.runs.find((other) => other.name === picked) ?? active ?? page.runs[0];
  const shown = page.runs.slice(0, 12), told = telling(shown.map((other) => other.as_of));
  const pick = (name) => { picked = name === picked ? null : name; trace(`run:${name}`); redraw(); };
  return [
    h("button", { type: "button", class: "contest", marks: run.mark, "data-key": run.mark, onclick: () => trace(run.mark) },
      h("code", {}, run.name), badge(run.phase, run.tone), h("small", { class: "quiet" }, ...aim(run))),
    h("p", { class: "reason" }, h("b", {}, run.trigger), ` as of ${moment(run.as_of)}: ${run.reason}`),
    run.tasks.length > 0 ? h("div", { class: "dag" }, columns(run.tasks)) : h("p", { class: "quiet pad" }, "Its steps have not been told yet."),
    h("div", { class: "elsewhere" },
      mayReadLogs() && h("button", { type: "button", class: "logs", "data-key": `log-${run.name}`, onclick: () => showLog(run.name) }, "log"),
      links(run.links, `Elsewhere about ${run.name}`)),
    run.message && run.tone === "bad" && h("p", { class: "bad-text" }, run.message),
    h("div", { class: "two" }, candidates(run), gates(run)),
    remarks(run),
    run.tables.map(table),
    retraining(page.retraining),
    h("ul", { class: "earlier", "aria-label": "All runs" }, shown.map((other) =>
      h("li", {}, h("button", { type: "button", class: other.name === run.name ? "picked" : "", marks: other.mark, "data-key": `all-${other.mark}`, title: other.reason, onclick: () => pick(other.name) },
        dot(other.tone), other.version || other.phase, h("small", {}, `${other.trigger.toLowerCase()} ${told.day(other.as_of)}`))))),
    batches(page.batches),
  ];
}

// Batches of predictions by the calendar, the newest first.
function batches(found) {
  if (!found.length) return null;
  const known = (value) => (value === null ? "–" : count(value));
  const again = (one) => (one.attempt > 1 ? `, try ${one.attempt}` : "");
  return h("div", { class: "scroll", "data-scroll": "batches", tabindex: -1 },
    h("table", { class: "numbers batches" },
      h("caption", {}, h("b", {}, "Batches of predictions")),
      h("thead", {}, h("tr", {}, ["rows of", "state", "written", "refused", "took", "by", "to"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, found.map((one) => h("tr", {},
        h("th", { scope: "row" }, `${moment(one.start)} to ${moment(one.end)}`),
        h("td", { class: one.tone === "bad" ? "bad-text" : "", title: one.ended_at ? `seen ${moment(one.ended_at)}` : "" }, `${one.phase}${again(one)}`),
        h("td", { title: one.read === null ? "" : `${count(one.read)} read` }, known(one.written)), h("td", {}, known(one.refused)),
        h("td", {}, one.seconds === null ? "–" : duration(one.seconds)), h("td", {}, one.version),
        h("td", { class: "output", title: one.message || one.output }, one.message || one.output || "–"))))));
}

function aim(run) {
  if (run.version) return [`gave ${run.version}`, run.against ? `, judged against ${run.against}` : ", the first model"];
  return run.against ? [`to beat ${run.against}`] : ["the first model"];
}

function columns(tasks) {
  const found = [];
  for (const task of tasks) {
    const last = found[found.length - 1];
    if (task.is_parallel && last && last[0].is_parallel) last.push(task);
    else found.push([task]);
  }
  return found.map((column) => h("div", { class: `column${column[0].is_parallel ? " parallel" : ""}` }, column.map((task) =>
    h("div", { class: `task ${task.tone}`, title: [task.word, task.message].filter(Boolean).join(": ") },
      dot(task.tone), h("b", {}, task.candidate || task.name), h("small", {}, task.seconds !== null ? duration(task.seconds) : task.tone === "idle" ? "" : task.word),
      task.tone === "active" && task.message && h("small", { class: "doing" }, task.message)))));
}

function candidates(run) {
  if (!run.candidates.length) return null;
  const names = [...new Set(run.candidates.flatMap((candidate) => Object.keys(candidate.metrics)))];
  names.sort((a, b) => (b === run.choose_by) - (a === run.choose_by));
  const shown = names.slice(0, 3);
  const values = run.candidates.map((c) => c.metrics[run.choose_by]).filter((v) => v !== undefined);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [worst, best] = isLowerBetter(run.choose_by) ? [high, low] : [low, high];
  const width = (value) => (value === undefined ? 0 : high === low ? 100 : 10 + ((value - worst) / (best - worst)) * 90);
  return h("table", { class: "numbers candidates" },
    h("caption", {}, "on the rows of validation, which choose"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "candidate"), shown.map((name) => h("th", { scope: "col" }, metricName(name))))),
    h("tbody", {}, run.candidates.map((candidate) => h("tr", { class: candidate.is_chosen ? "chosen" : "" },
      h("th", { scope: "row" }, candidate.name, candidate.is_chosen && h("span", { class: "tick", title: "chosen" }, " ✓ chosen"), candidate.failure && h("span", { class: "bad-text", title: candidate.failure }, " ✗ failed")),
      shown.map((name, i) => h("td", {}, i === 0 && h("i", { class: "meter", vars: { width: `${width(candidate.metrics[name])}%` } }), h("span", {}, metric(candidate.metrics[name]))))))));
}

function remarks(run) {
  const failed = run.candidates.filter((candidate) => candidate.failure);
  if (!failed.length && !run.warnings.length) return null;
  return h("ul", { class: "verdicts" },
    failed.map((candidate) => h("li", {}, badge("failed", "bad"), h("div", {}, h("b", {}, candidate.name), " ", candidate.failure))),
    run.warnings.map((warning) => h("li", {}, badge("warning", "warn"), h("div", {}, warning))));
}

function gates(run) {
  if (!run.gates.length) return null;
  return h("ul", { class: "verdicts" }, run.gates.map((gate) =>
    h("li", {}, badge({ good: "passed", bad: "missed", warn: "unsure" }[gate.tone], gate.tone), h("div", {}, h("b", {}, metricName(gate.metric)), " ", gate.message))));
}

/** Values by two names each; where all are counts, a cell is the darker the more of its row it has. */
function table({ title, whose, of_rows, of_columns, rows, columns, cells, notes }) {
  const counted = cells.flat().every(Number.isInteger);
  const shade = (row, value) => (counted ? `${Math.round((100 * value) / Math.max(1, row.reduce((sum, one) => sum + one, 0)))}%` : "0%");
  const shown = (value) => (typeof value === "string" ? value : value === null || Number.isInteger(value) ? count(value) : metric(value));
  return h("div", { class: "scroll", "data-scroll": title, tabindex: -1 },
    h("table", { class: "numbers crossed" },
      h("caption", {}, h("b", {}, title), ` of ${whose || "the test window"}: ${of_rows} down, ${of_columns} across`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, of_rows), columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((name, at) => h("tr", {}, h("th", { scope: "row" }, name),
        cells[at].map((value) => h("td", { vars: { "--share": shade(cells[at], value) } }, shown(value))))))),
    notes.map((note) => h("p", { class: "quiet" }, note)));
}

function retraining(r) {
  const items = [
    r.budget !== null && `${r.used} of ${r.budget} runs of the budget used`,
    r.cooldown_until && `cooldown until ${moment(r.cooldown_until)}`,
    r.pending && `waiting to train: ${r.pending}`,
    ...r.next,
    r.circuit_open && "circuit open: `capstan resume` closes it",
  ].filter(Boolean);
  return items.length ? h("p", { class: "quiet retraining" }, items.join(" · ")) : null;
}
