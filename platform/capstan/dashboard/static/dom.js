// Builds elements. Text only ever becomes text nodes, so nothing that a name contains can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** A mark as it stands in `data-marks`, a list parted by spaces. */
export const token = (mark) => mark.replace(/\s+/g, "_");

export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, given] of Object.entries(value)) element.style.setProperty(key, given);
    else if (name === "marks") element.dataset.marks = [value].flat().filter(Boolean).map(token).join(" ");
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

/** Replace a container's children, keeping keyboard focus on the element of the same data-key, scroll positions and what is open. */
export function redraw(container, ...children) {
  const key = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const scrolls = [...container.querySelectorAll("[data-scroll]")].map((e) => [e.dataset.scroll, e.scrollTop]);
  const open = [...container.querySelectorAll("details[open][data-details]")].map((e) => e.dataset.details);
  container.replaceChildren(...children.flat(Infinity).filter(Boolean));
  for (const details of container.querySelectorAll("details[data-details]")) details.open = open.includes(details.dataset.details);
  for (const [name, top] of scrolls) {
    const same = container.querySelector(`[data-scroll="${CSS.escape(name)}"]`);
    if (same) same.scrollTop = top;
  }
  if (key) container.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

export function dot(tone) {
  return h("i", { class: `dot ${tone}`, "aria-hidden": "true" });
}

export function empty(title, text) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, text));
}

export function badge(word, tone) {
  return h("span", { class: `badge ${tone}` }, word);
}

export function version(name, role = "") {
  return h("span", { class: `version ${role}` }, name);
}

/** Links to other programs, which open beside the page; null where there are none. */
export function links(found, label) {
  if (!found.length) return null;
  return h("nav", { class: "links", "aria-label": label }, found.map((link) =>
    h("a", { href: link.address, target: "_blank", rel: "noreferrer", "data-key": `link-${link.address}` }, link.name)));
}
