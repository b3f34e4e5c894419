// Courses over time: a difference between its bounds, and lines of several arms side by side.

import { h, s } from "../dom.js";
import { clock, date, many, signed, telling } from "../format.js";

const W = 420, LEFT = 50, RIGHT = 10, TOP = 8, BOTTOM = 112, H = 130;

/** The colour of an arm, by its place among all of them, the champion first. */
export const tint = (place) => `arm-${Math.min(place, 5)}`;

export const bound = (value) => (value === null ? "open" : signed(value));
/** Bounds in words; where no side is bounded, nothing is known yet. */
export const bounds = (one) => (one.lower === null && one.upper === null ? "no bounds yet" : `bounds ${bound(one.lower)} to ${bound(one.upper)}`);

/** The points between their bounds, with lines at 0 and at the named levels; `words` tells the picture to who can't see it. */
export function sequence(points, { levels = [], words, caption, tint = "" }) {
  const last = points[points.length - 1], told = telling(points.map((p) => p.at));
  const finite = points.flatMap((p) => [p.lower, p.upper]).filter((v) => v !== null);
  // The widest early bounds would flatten what matters: the frame holds the later half of them.
  const later = points.slice(Math.floor(points.length / 2)).flatMap((p) => [p.lower, p.upper]).filter((v) => v !== null);
  const held = [...(later.length ? later : finite), ...points.map((p) => p.difference), ...levels, 0];
  const low = Math.min(...held), high = Math.max(...held), room = (high - low || 1e-9) * 0.12;
  const x = across(points[0].at, last.at);
  const y = upright(low - room, high + room);
  const upper = points.map((p) => `${x(p.at)},${p.upper === null ? TOP : y(p.upper)}`);
  const lower = points.map((p) => `${x(p.at)},${p.lower === null ? BOTTOM : y(p.lower)}`).reverse();
  const level = (value) => [
    s("line", { class: value === 0 ? "zero" : "margin", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value) }),
    s("text", { x: LEFT - 4, y: y(value) + 3, "text-anchor": "end" }, value === 0 ? "0" : signed(value, 3))];
  return h("figure", { class: `sequence ${tint}` },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": words },
      points.length > 1 && s("polygon", { class: "band", points: [...upper, ...lower].join(" ") }),
      points.length === 1 && s("line", { class: "reach", x1: x(last.at), x2: x(last.at), y1: y(last.lower ?? low), y2: y(last.upper ?? high) }),
      [...new Set([0, ...levels])].map(level),
      [high + room, low - room].map((end, place) => Math.abs(y(end) - y(0)) > 14 && levels.every((value) => Math.abs(y(end) - y(value)) > 14) &&
        s("text", { x: LEFT - 4, y: y(end) + (place ? 0 : 7), "text-anchor": "end" }, signed(end, 3))),
      s("polyline", { class: "path", points: points.map((p) => `${x(p.at)},${y(p.difference)}`).join(" ") }),
      points.map((p) => s("circle", { class: "block", cx: x(p.at), cy: y(p.difference), r: 2.4 },
        s("title", {}, `${told.day(p.at)}: ${signed(p.difference)}, ${bounds(p)}, ${many(p.units, "unit")}`))),
      dates(points[0].at, last.at)),
    h("figcaption", {}, caption));
}

/** One line for each series, `{name, class, points: [[at, value], ...]}`, with ticks `[[value, text], ...]`; the first and last tick are the frame. */
export function lines(series, ticks, { words, caption }) {
  const moments = series.flatMap((one) => one.points.map(([at]) => at));
  const first = moments.reduce((a, b) => (Date.parse(a) <= Date.parse(b) ? a : b)), last = moments.reduce((a, b) => (Date.parse(a) >= Date.parse(b) ? a : b));
  const x = across(first, last), y = upright(ticks[0][0], ticks[ticks.length - 1][0]);
  return h("figure", { class: "sequence" },
    s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": words },
      ticks.map(([value, text]) => [
        s("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value) }),
        s("text", { x: LEFT - 4, y: y(value) + 3, "text-anchor": "end" }, text)]),
      series.map((one) => s("polyline", { class: `path ${one.class}`, points: one.points.map(([at, value]) => `${x(at)},${y(value)}`).join(" ") }, s("title", {}, one.name))),
      dates(first, last)),
    h("figcaption", {},
      h("span", { class: "keys" }, series.map((one) => h("span", { class: `key ${one.class}` }, one.name))), " ", caption));
}

function across(first, last) {
  const begin = Date.parse(first), length = Math.max(Date.parse(last) - begin, 1);
  return begin + 1 >= begin + length
    ? () => (LEFT + W - RIGHT) / 2
    : (at) => LEFT + ((Date.parse(at) - begin) / length) * (W - RIGHT - LEFT);
}

const upright = (low, high) => (value) => BOTTOM - ((Math.max(low, Math.min(high, value)) - low) / (high - low || 1)) * (BOTTOM - TOP);

const dates = (first, last) => {
  const told = telling([first, last]);
  return [
    s("text", { x: LEFT, y: H - 4 }, told.day(first)),
    s("text", { x: W - RIGHT, y: H - 4, "text-anchor": "end" }, last === first ? "" : date(last) === date(first) ? clock(last) : told.day(last))];
};
