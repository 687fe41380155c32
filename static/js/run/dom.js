// Making elements. Text goes in as text: nothing that a model or a sandbox wrote is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** `h("p.note", {title: "x"}, "text", child)`: attributes by name, listeners as `onclick`, null for none. */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An icon of templates/components/_icons.html. */
export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${className}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function setIcon(svg, name) {
  const href = `#i-${name}`;
  if (svg.firstChild.getAttribute("href") !== href) svg.firstChild.setAttribute("href", href);
}

/** Set a text only when it changed, so that a selection made by the reader survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, className) {
  if (element.className !== className) element.className = className;
}

/**
 * Make the children of `parent` those of `items`, in order, keeping what is there: `view(item)` makes
 * `{element, update(item)}` for a key that is new. Returns nothing; the views are kept in `views`.
 */
export function reconcile(parent, views, items, view) {
  const wanted = new Set();
  let place = parent.firstChild;
  for (const item of items) {
    wanted.add(item.key);
    let shown = views.get(item.key);
    if (shown === undefined) {
      shown = view(item);
      views.set(item.key, shown);
    }
    shown.update(item);
    if (shown.element === place) place = place.nextSibling;
    else parent.insertBefore(shown.element, place);
  }
  for (const [key, shown] of views) {
    if (wanted.has(key)) continue;
    shown.element.remove();
    views.delete(key);
  }
}
