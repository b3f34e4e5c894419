// What the monitor decided: a strip of features by windows, and the champion's quality with its coverage.

import { h, s, empty } from "../dom.js";
import { count, isLowerBetter, length, many, metric, metricName, percent, stretch, telling, ticks } from "../format.js";

let active = null;
const wide = () => window.innerWidth > 1080;

export function drawDrift(page) {
  const { windows } = page.watch;
  if (!windows.length) {
    return empty("No window decided yet", `The monitor compares ${page.watch.every ? `each ${length(page.watch.every).replace(/^1 /, "")}` : "each window"} of requests with its reference; the first result appears when the first window has closed.`);
  }
  const told = edges(windows);
  const features = [...new Set(windows.flatMap((w) => w.cells.map((cell) => cell.feature)))];
  const inputs = features.length;
  features.push(...new Set(windows.flatMap((w) => w.outputs.map((cell) => cell.feature))));
  if (!features.length) features.push("all inputs");
  const readout = h("p", { class: "readout", "aria-live": "polite" }, summary(page));
  const cells = [];
  const show = (row, column) => {
    active = [row, column];
    for (const old of grid.querySelectorAll(".on")) old.classList.remove("on");
    cells[row]?.[column]?.element.classList.add("on");
    readout.replaceChildren(...describe(windows[column], cells[row]?.[column]?.cell, told));
  };
  const grid = h("div", {
    class: "heat", role: "group", tabindex: 0, "data-key": "heat", "aria-label": `Drift of ${many(features.length, "feature")} in ${many(windows.length, "window")}; arrow keys move`,
    vars: { "--windows": String(windows.length) },
    onkeydown: (event) => {
      const [row, column] = active ?? [0, windows.length - 1];
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      show(Math.max(0, Math.min(features.length - 1, row + step[0])), Math.max(0, Math.min(windows.length - 1, column + step[1])));
    },
  });
  grid.append(h("span", { class: "name quiet" }, "alerts"), ...windows.map((w) => h("span", { class: `mark${w.is_alert ? " fires" : ""}`, title: mark(w, told) }, w.is_alert ? "▲" : w.is_judged ? "" : "?")));
  features.forEach((feature, row) => {
    cells.push([]);
    // Names of outputs differ at their end, as those of classes do.
    grid.append(h("span", { class: row < inputs ? "name" : "name ending", title: feature }, h("bdi", {}, feature)));
    windows.forEach((w, column) => {
      const cell = [...w.cells, ...w.outputs].find((c) => c.feature === feature);
      const element = h("span", { class: `cell${cell?.is_breach ? " breach" : ""}${cell ? "" : w.is_judged ? " none" : " blind"}`, vars: { "--r": String(strength(cell)) }, onpointerenter: () => show(row, column) });
      cells[row].push({ element, cell });
      grid.append(element);
    });
  });
  grid.append(h("span", { class: "name quiet" }, "champion"), ...bands(windows));
  grid.append(h("span", { class: "name" }), ...ticks(windows.map((w) => w.end)).map((text) => h("span", { class: "month" }, text)));
  if (active && cells[active[0]]?.[active[1]]) cells[active[0]][active[1]].element.classList.add("on");
  return [grid, h("div", { class: "legend" }, readout, h("span", { class: "scale" }, page.watch.judged < windows.length && [h("i", { class: "blind" }), h("small", {}, "not judged")], h("small", {}, "0"), h("i"), h("small", {}, "threshold"), h("i", { class: "over" }), h("small", {}, "2×"))), asRowsCome(page)];
}

// What online detectors said by the end of each window: the column that is farthest, in parts of its threshold.
function asRowsCome(page) {
  const { windows } = page.watch, seen = windows.filter((w) => w.online);
  if (!seen.length) return null;
  const told = telling([...windows.flatMap((w) => [w.start, w.end]), ...seen.map((w) => w.online.since)]);
  const newest = seen[seen.length - 1], { since, reached, gap, measured } = newest.online;
  const state = gap ? `not judged: ${gap}` : since ? `drift found, since ${told.date(since)}` : "no drift";
  const until = since || !reached ? "" : `, up to ${told.date(reached)}`;
  const named = (since ? measured.filter((one) => one.is_above) : measured.slice(0, 1)).map((one) => `${one.name} ${metric(one.distance)}`);
  const words = h("figcaption", {}, h("span", {}, h("b", { class: since ? "bad-text" : "" }, state), ` as rows come, ${newest.version}${until}`),
    named.length > 0 && h("span", {}, `${since ? "" : "farthest "}${named.join(", ")} against ${metric(measured[0].threshold)}; 1 is usual`));
  const known = seen.filter((w) => w.online.measured.length);
  if (!known.length) return h("figure", { class: "detector arriving" }, words);
  const W = Math.max(240, (document.querySelector("#drift .body")?.clientWidth ?? 400)), H = 64, L = 40;
  const ratio = (w) => Math.max(...w.online.measured.map((one) => one.distance / one.threshold));
  const high = Math.max(1.2, ...known.map(ratio)) * 1.08;
  const x = (w) => L + ((windows.indexOf(w) + 0.5) / windows.length) * (W - L - 6), y = (v) => 4 + (1 - v / high) * (H - 8);
  return h("figure", { class: "detector arriving" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Online detectors: ${state}` },
      s("text", { x: L - 6, y: y(1) + 4, "text-anchor": "end" }, "limit"),
      s("line", { class: "floor", x1: L, x2: W - 6, y1: y(1), y2: y(1) }),
      known.map((w) => s("circle", { class: `value${w.online.since ? " rise" : ""}`, cx: x(w), cy: y(Math.max(0, ratio(w))), r: 3 },
        s("title", {}, `${told.date(w.end)}, ${w.version}: ${w.online.measured.map((one) => `${one.name} ${metric(one.distance)}${one.test ? ` by ${one.test}` : ""}`).join(", ")}, the threshold is ${metric(w.online.measured[0].threshold)}`)))),
    words);
}

const edges = (windows) => telling(windows.flatMap((w) => [w.start, w.end]));

function strength(cell) {
  if (!cell || cell.distance === null || !cell.threshold) return 0;
  return Math.min(2, cell.distance / cell.threshold).toFixed(3);
}

const mark = (w, told) => (w.is_alert ? `drift alert, window to ${told.date(w.end)}` : w.is_judged ? "" : `not judged: ${w.gap}`);

function bands(windows) {
  const found = [];
  let start = 0;
  windows.forEach((w, i) => {
    if (i + 1 < windows.length && windows[i + 1].version === w.version) return;
    found.push(h("span", { class: "band", title: `watched: ${w.version}`, vars: { "--grid-column": `span ${i - start + 1}` } }, w.version));
    start = i + 1;
  });
  return found;
}

function summary(page) {
  const last = page.watch.windows[page.watch.windows.length - 1], told = edges(page.watch.windows);
  if (!last.is_judged) {
    const { judged, windows } = page.watch;
    const others = judged ? `${judged} of ${many(windows.length, "window")} ${judged === 1 ? "was" : "were"} judged` : `None of ${many(windows.length, "window")} was judged`;
    return `newest window, to ${told.date(last.end)}: not judged, ${last.gap}. ${others}; nothing is known about drift in ${judged ? "the others" : "any"}.`;
  }
  const over = last.cells.filter((cell) => cell.is_breach).length;
  return `newest window, to ${told.date(last.end)}: ${over} of ${many(last.cells.length, "feature")} above ${last.cells.length === 1 ? "its" : "their"} threshold${inSlices(last)}${last.doubt ? `; beware: ${last.doubt}` : ""}`;
}

function describe(w, cell, told) {
  const when = w.start ? stretch(w.start, w.end, told) : `to ${told.date(w.end)}`;
  if (!w.is_judged && !cell) return [h("span", {}, `${when}, ${w.version}: not judged, ${w.gap}`)];
  if (!cell) return [h("span", {}, `${when}: not measured`)];
  return [
    h("b", {}, cell.feature), ` ${when}, ${w.version}: `,
    cell.distance === null ? "no distance" : `${cell.test ? `${cell.test} ` : ""}distance ${metric(cell.distance)} against threshold ${metric(cell.threshold)}`,
    cell.distance !== null && cell.threshold ? ` (${(cell.distance / cell.threshold).toFixed(2)}×)` : "",
    cell.missing ? `, ${percent(cell.missing, 1)} missing` : "", w.rows !== null ? `, ${many(w.rows, "row")}` : "", inSlices(w),
  ];
}

const inSlices = (w) => (w.slices.length ? `; by slice: ${w.slices.join(", ")}` : "");

export function drawQuality(page) {
  return [quality(page), concept(page), page.watch.online.length > 0 && online(page.watch.online)].filter(Boolean);
}

function online(rows) {
  return h("table", { class: "numbers online" },
    h("caption", {}, "what users did after answers, by the version that answered first"),
    h("thead", {}, h("tr", {}, ["metric", "version", "value", "units", "closed", "after"].map((name) => h("th", { scope: "col", class: name === "after" ? "optional" : "" }, name)))),
    h("tbody", {}, rows.map((one) => h("tr", {},
      h("th", { scope: "row", title: `${one.better.toLowerCase()} is better` }, one.title),
      h("td", {}, one.version),
      h("td", { title: one.standard_error ? `standard error ${one.standard_error}` : "" }, one.value || "–"),
      h("td", {}, count(one.units)), h("td", {}, one.coverage), h("td", { class: "optional" }, one.delay || "–")))));
}

function quality(page) {
  const { windows, quality_metric: name } = page.watch;
  const known = windows.filter((w) => w.quality !== null), told = edges(windows);
  const guessed = windows.filter((w) => w.estimate?.value != null);
  const gap = windows[windows.length - 1]?.quality_gap ?? "";
  if (!known.length && !guessed.length && gap) return empty("Quality was not judged", `${windows.length === 1 ? "In the only window" : "In the newest window"}: ${gap}. No alert does not mean that the model is still good.`);
  if (!known.length && !guessed.length) {
    return empty("No labelled window yet", `The champion's ${metricName(name) || "quality"} appears here once enough labels have come for a closed window.`);
  }
  const W = Math.max(240, (document.querySelector("#quality .body")?.clientWidth ?? 400)), H = wide() ? 345 : 200, L = 40, B = 40;
  const values = [...known.map((w) => w.quality), ...guessed.flatMap((w) => [w.estimate.value, w.estimate.low, w.estimate.high]).filter((value) => value !== null), ...windows.map((w) => w.quality_floor).filter((floor) => floor !== null)];
  const pad = (Math.max(...values) - Math.min(...values)) * 0.15 || 0.02;
  const [low, high] = [Math.min(...values) - pad, Math.max(...values) + pad];
  const x = (i) => L + ((i + 0.5) / windows.length) * (W - L - 6);
  const y = (v) => 8 + (1 - (v - low) / (high - low)) * (H - B - 12);
  const lines = [];
  let path = "";
  windows.forEach((w, i) => {
    const cut = w.quality === null || (i > 0 && windows[i - 1].version !== w.version);
    if (cut && path) { lines.push(path); path = ""; }
    if (w.quality !== null) path += `${path ? "L" : "M"}${x(i).toFixed(1)} ${y(w.quality).toFixed(1)}`;
  });
  if (path) lines.push(path);
  // Each version has a floor of its own, which says nothing about the windows of another.
  const floors = [];
  windows.forEach((w, i) => {
    const before = floors[floors.length - 1];
    if (w.quality_floor === null) return;
    if (before && before.last === i - 1 && before.version === w.version && before.value === w.quality_floor) before.last = i;
    else floors.push({ first: i, last: i, version: w.version, value: w.quality_floor });
  });
  const side = isLowerBetter(name) ? "above" : "below";
  const half = (W - L - 6) / windows.length / 2, newest = floors[floors.length - 1];
  const levels = [low + pad / 2, (low + high) / 2, high - pad / 2];
  const last = known[known.length - 1], guess = guessed[guessed.length - 1];
  const bar = Math.max(1.5, (W - L) / windows.length - 2);
  return h("figure", { class: "quality" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": last ? `${metricName(name)} of the champion, newest ${metric(last.quality)}` : `${metricName(name)} of the champion, as it is estimated before labels` },
      levels.map((v) => [s("line", { class: "grid", x1: L, x2: W, y1: y(v), y2: y(v) }), s("text", { x: L - 6, y: y(v) + 4, "text-anchor": "end" }, metric(v, 2))]),
      floors.map((floor) => s("line", { class: "floor", x1: x(floor.first) - half, x2: x(floor.last) + half, y1: y(floor.value), y2: y(floor.value) }, s("title", {}, `${floor.version}: alert ${side} ${metric(floor.value)}`))),
      newest !== undefined && s("text", { class: "floor-name", x: W - 4, y: y(newest.value) + (side === "above" ? -6 : 14), "text-anchor": "end" }, `${newest.version}: alert ${side}`),
      guessed.map((w) => guessOf(w, x(windows.indexOf(w)), y, told)),
      lines.map((d) => s("path", { class: "line", d })),
      windows.map((w, i) => w.quality !== null && s("circle", { class: "value", cx: x(i), cy: y(w.quality), r: 3 }, s("title", {}, `${told.date(w.end)}, ${w.version}: ${metric(w.quality)}, ${percent(w.coverage ?? 0)} labelled`))),
      windows.map((w, i) => w.coverage !== null && s("rect", { class: "coverage", x: x(i) - bar / 2, width: bar, y: H - 18 - 14 * w.coverage, height: 14 * w.coverage })),
      ticks(windows.map((w) => w.end)).map((text, i) => text && s("text", { x: x(i), y: H - 4 }, text))),
    h("figcaption", {}, last && h("span", {}, h("b", {}, metric(last.quality)), ` ${metricName(name)} of ${last.version}, to ${told.date(last.end)}`), guess && h("span", { class: "guessed" }, estimated(guess, told)), last && last.quality_notes.map((note) => h("span", {}, note)), h("span", {}, gap ? `newest window not judged: ${gap}` : last ? `labelled ${percent(last.coverage ?? 0)} (bars)` : "no labels yet")));
}

// What a window's quality probably is: a diamond with its interval, crossed out where the truth lay elsewhere.
function guessOf(w, x, y, told) {
  const { value, low, high, held, is_sure: sure } = w.estimate;
  return s("g", { class: `guess${held === false ? " wrong" : ""}${sure ? "" : " unsure"}` },
    s("title", {}, `${told.date(w.end)}, ${w.version}: ${estimated(w, told)}`),
    low !== null && s("line", { x1: x, x2: x, y1: y(low), y2: y(high) }),
    s("path", { d: `M${x - 4} ${y(value)}L${x} ${y(value) - 4}L${x + 4} ${y(value)}L${x} ${y(value) + 4}Z` }));
}

function estimated(w, told) {
  const { value, low, high, held, message } = w.estimate;
  const interval = low === null ? "" : ` (${metric(low)} to ${metric(high)})`;
  const truth = held === null ? "" : held ? "; the truth lay within" : "; the truth lay elsewhere";
  return `estimated before labels ${metric(value)}${interval}, to ${told.date(w.end)}${truth}${message ? `; may be wrong: ${message}` : ""}`;
}

// Losses of labelled rows beside those of the test, as the detector of concept drift sees them.
function concept(page) {
  const { windows } = page.watch, seen = windows.filter((w) => w.concept);
  if (!seen.length) return null;
  const told = edges(windows), newest = seen[seen.length - 1].concept, known = seen.filter((w) => w.concept.loss !== null);
  const title = `${newest.detector} on the losses of rows (${metricName(newest.metric)})`;
  const state = newest.gap ? `not judged: ${newest.gap}` : newest.is_rise ? `rise found, since ${told.date(newest.since)}` : "no rise";
  const words = h("figcaption", {}, h("span", {}, h("b", { class: newest.is_rise ? "bad-text" : "" }, state), ` · ${title}`), newest.loss !== null && h("span", {}, `${metric(newest.loss)} a row, at the test ${metric(newest.reference)}`));
  if (!known.length) return h("figure", { class: "detector concept" }, words);
  const W = Math.max(240, (document.querySelector("#quality .body")?.clientWidth ?? 400)), H = 70, L = 40;
  const all = known.flatMap((w) => [w.concept.loss, w.concept.reference]).filter((value) => value !== null);
  const pad = (Math.max(...all) - Math.min(...all)) * 0.2 || 0.01, low = Math.min(...all) - pad, high = Math.max(...all) + pad;
  const x = (w) => L + ((windows.indexOf(w) + 0.5) / windows.length) * (W - L - 6), y = (v) => 4 + (1 - (v - low) / (high - low)) * (H - 8);
  const half = (W - L - 6) / windows.length / 2;
  return h("figure", { class: "detector concept" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${state}` },
      [low + pad, high - pad].map((v) => s("text", { x: L - 6, y: y(v) + 4, "text-anchor": "end" }, metric(v, 2))),
      known.map((w) => w.concept.reference !== null && s("line", { class: "floor", x1: x(w) - half, x2: x(w) + half, y1: y(w.concept.reference), y2: y(w.concept.reference) })),
      known.map((w) => s("circle", { class: w.concept.is_rise ? "value rise" : "value", cx: x(w), cy: y(w.concept.loss), r: 3 }, s("title", {}, `${told.date(w.end)}, ${w.version}: ${metric(w.concept.loss)} a row, at the test ${metric(w.concept.reference)}`)))),
    words);
}
