// Why an alert fired: three sentences, and how much each kind of rows moved or explains.

import { h, s } from "../dom.js";
import { percent, stretch, telling } from "../format.js";

const W = 420, NAME = 150, NUMBERS = 92, ROW = 22;
const across = (share) => NAME + share * (W - NAME - NUMBERS);

/** Of an alert that fires the reason is open; that of a former one opens with a click and is told apart by its key. */
export function drawReason(why, key = null) {
  if (!why) return null;
  const told = telling([why.start, why.end]);
  const when = why.start ? stretch(why.start, why.end, told) : `to ${told.date(why.end)}`;
  const head = [h("b", {}, "why"), " ", h("small", {}, when)];
  const body = [
    why.bars.length > 0 && (why.bars[0].explained === null ? moved(why) : explained(why)),
    why.sentences.map((sentence) => h("p", {}, sentence))];
  return key === null
    ? h("div", { class: "reason-of" }, head, body)
    : h("details", { class: "reason-of", "data-details": key }, h("summary", {}, head), body);
}

const name = (bar, y) => s("text", { class: "name", x: NAME - 8, y: y + 4, "text-anchor": "end" }, bar.what.length > 25 ? [s("title", {}, bar.what), `${bar.what.slice(0, 24)}…`] : bar.what);
const words = (why) => why.sentences.join(" ");

// From what the share was to what it is.
function moved(why) {
  const most = Math.max(...why.bars.flatMap((bar) => [bar.before ?? 0, bar.now ?? 0]), 0.01);
  const x = (share) => across((share ?? 0) / most);
  return h("figure", {},
    s("svg", { viewBox: `0 0 ${W} ${ROW * why.bars.length}`, role: "img", "aria-label": words(why) }, why.bars.map((bar, i) => {
      const y = ROW * i + ROW / 2;
      return [name(bar, y), s("line", { class: "grid", x1: NAME, x2: W - NUMBERS, y1: y, y2: y }),
        s("line", { class: bar.now > bar.before ? "more" : "fewer", x1: x(bar.before), x2: x(bar.now), y1: y, y2: y }),
        s("circle", { class: "before", cx: x(bar.before), cy: y, r: 4 }), s("circle", { class: "after", cx: x(bar.now), cy: y, r: 4 }),
        s("text", { x: W, y: y + 4, "text-anchor": "end" }, `${percent(bar.before)} → ${percent(bar.now)}`)];
    })),
    h("figcaption", {}, h("span", { class: "keys" }, h("span", { class: "key was" }, "share of the rows before"), h("span", { class: "key is" }, "now"))));
}

// Parts of the rise, with their intervals.
function explained(why) {
  const ends = why.bars.flatMap((bar) => [bar.low ?? 0, bar.high ?? 0, bar.explained, 0]);
  const low = Math.max(-1, Math.min(...ends)), high = Math.min(2, Math.max(...ends, 0.01));
  const x = (share) => across((Math.max(low, Math.min(high, share)) - low) / (high - low));
  const block = (kind, from, to, y) => to !== from && s("rect", { class: kind, x: Math.min(x(from), x(to)), width: Math.abs(x(to) - x(from)), y: y - 6, height: 12 });
  return h("figure", {},
    s("svg", { viewBox: `0 0 ${W} ${ROW * why.bars.length}`, role: "img", "aria-label": words(why) },
      s("line", { class: "grid", x1: x(0), x2: x(0), y1: 0, y2: ROW * why.bars.length }),
      why.bars.map((bar, i) => {
        const y = ROW * i + ROW / 2, rest = bar.before === null && bar.now === null;
        // Parts that point to one side follow each other; else both begin at 0.
        const begin = Math.sign(bar.mix) === Math.sign(bar.within) ? bar.mix : 0;
        return [name(bar, y), block("mix", 0, bar.mix, y), block(rest ? "rest" : "within", begin, begin + bar.within, y),
          bar.low !== null && s("line", { class: "reach", x1: x(bar.low), x2: x(bar.high), y1: y, y2: y }, s("title", {}, `between ${percent(bar.low)} and ${percent(bar.high)}`)),
          s("text", { x: W, y: y + 4, "text-anchor": "end" }, percent(bar.explained))];
      })),
    h("figcaption", {}, h("span", { class: "keys" }, h("span", { class: "key mix" }, "more rows that are harder"), h("span", { class: "key within" }, "the same rows judged worse"), h("span", { class: "key rest" }, "not explained"))));
}
