// Elements without markup in strings: whatever comes from data becomes a text node or an attribute, never HTML.

/** h("p", {class: "note", onclick: f}, "text", node, [more], null) */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** A name or other foreign words: kept from turning the writing direction of what stands around it. */
export const foreign = (text) => h("bdi", {}, text);

export function announce(text) {
  document.getElementById("news").textContent = text;
}

/** A section with a heading that names it to a screen reader. */
export function section(title, { level = 2, name = "" } = {}, ...children) {
  const id = `section-${++sections}`;
  return h("section", { class: name, "aria-labelledby": id }, h(`h${level}`, { id }, title), ...children);
}

let sections = 0;

/** Words of the service: what stands between backticks there is code here. */
export const withCode = (text) => text.split("`").map((part, at) => (at % 2 === 1 ? h("code", {}, part) : part));
