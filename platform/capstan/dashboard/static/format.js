// One way to write each kind of number and time.

let zone = "UTC";
export const setZone = (name) => { zone = name; };
export const zoneName = () => zone;

const formats = new Map();
function format(iso, options) {
  const key = zone + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options }));
  return formats.get(key).format(new Date(iso));
}

export const day = (iso) => format(iso, { day: "numeric", month: "short" });
export const date = (iso) => format(iso, { day: "numeric", month: "short", year: "numeric" });
export const clock = (iso) => format(iso, { hour: "2-digit", minute: "2-digit" });
export const seconds = (iso) => format(iso, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const moment = (iso) => `${day(iso)} ${clock(iso)}`;
/**
 * How to write these moments beside each other: those of one day are told apart by hours and minutes, others by days.
 * `day` is short, `date` has the year, `clock` says that hours and minutes are needed.
 */
export function telling(isos) {
  const instants = new Set(isos.filter(Boolean).map((iso) => Date.parse(iso)));
  const days = new Set([...instants].map(date));
  if (days.size === instants.size) return { day, date, clock: false };
  return { day: moment, date: (iso) => `${date(iso)} ${clock(iso)}`, clock: true };
}
/** From one moment to another; the day stands once where it is the same. */
export function stretch(from, to, told) {
  if (told.clock && to && date(from) === date(to)) return `${told.date(from)} – ${clock(to)}`;
  return `${told.day(from)} – ${told.date(to)}`;
}
/** What stands below points along an axis, empty where a text would hide its neighbour: months, days, or hours and minutes. */
export function ticks(isos, most = 6) {
  const short = telling(isos).clock, text = short ? clock : month;
  const step = short ? Math.ceil(isos.length / most) : 1;
  return isos.map((iso, i) => {
    if (i === 0) return text(iso);
    if (!short) return month(iso) !== month(isos[i - 1]) ? month(iso) : "";
    return i % step ? "" : date(iso) === date(isos[i - step]) ? clock(iso) : day(iso);
  });
}
export const month = (iso) => format(iso, { month: "short" });
export const zoneShort = (iso) =>
  new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "short" })
    .formatToParts(new Date(iso)).find((part) => part.type === "timeZoneName").value;

export const count = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en-US"));
/** A share that is neither none nor all never reads as such. */
export function percent(share, digits = 0) {
  const least = 10 ** -digits, text = (share * 100).toFixed(digits);
  if (share > 0 && Number(text) === 0) return `< ${least} %`;
  return share < 1 && Number(text) === 100 ? `> ${(100 - least).toFixed(digits)} %` : `${text} %`;
}
/** Metrics in units of a label may be thousands: digits that tell nothing are left out. */
const digitsOf = (value, most) => Math.max(0, most - Math.max(0, Math.floor(Math.log10(Math.abs(value) || 1))));
export const metric = (value, most = 3) => (value === null || value === undefined ? "–" : value.toFixed(digitsOf(value, most)));
export const signed = (value, most = 4) => `${value < 0 ? "−" : "+"}${metric(Math.abs(value), most)}`;

/** So many digits that count, in plain decimals: `0.1200`, `12,340`. */
export const number = (value, digits = 4) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumSignificantDigits: digits });

export function rate(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100 ? count(Math.round(value)) : value.toFixed(value >= 10 ? 1 : 2);
}

export function latency(value) {
  if (value === null || value === undefined) return "–";
  const ms = value * 1000;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : 1)} ms`;
}

/** `1 window`, `2 windows`. */
export const many = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** A length that somebody wrote, in the largest unit that holds it whole: `3 minutes`, `36 hours`, `7 days`. */
export function length(seconds) {
  const [size, noun] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([size]) => seconds % size === 0) ?? [1, "second"];
  return many(seconds / size, noun);
}

export function duration(total) {
  if (total === null || total === undefined) return "–";
  if (total < 10) return `${total.toFixed(1)} s`;
  if (total < 60) return `${Math.round(total)} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${Math.round(total % 60)} s`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${Math.round((total % 3600) / 60)} min`;
  return `${(total / 86400).toFixed(1)} d`;
}

let known = new Map();
/** The task's metrics as the page tells them, the most important first. */
export const setMetrics = (metrics) => { known = new Map(metrics.map((one, rank) => [one.name, { ...one, rank }])); };
export const metricName = (name) => known.get(name)?.title ?? name;
export const metricRank = (name) => known.get(name)?.rank ?? known.size;
export const isLowerBetter = (name) => known.get(name)?.is_lower_better ?? false;
/** `TrainingSucceeded` as people would say it. */
export const words = (camel) => {
  const spaced = camel.replace(/([a-z])([A-Z])/g, "$1 $2");
  return spaced.charAt(0) + spaced.slice(1).toLowerCase();
};
