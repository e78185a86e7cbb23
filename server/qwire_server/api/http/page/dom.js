// Making elements. Text is always text: nothing here reads HTML.

export const byId = (id) => document.getElementById(id);

/** An element; a function is a listener for its name, `text` its content, all else attributes. */
export function make(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for pictures. */
export function draw(tag, properties = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A message with what can be done about it. */
export function banner(kind, text, ...actions) {
  return make("div", { class: `banner ${kind}` }, make("p", { text }), ...actions);
}

/** Replace the children of an element; leave them alone where they say the same, for readers. */
export function fill(element, ...children) {
  const next = make("div", {}, ...children);
  if (next.innerHTML !== element.innerHTML || next.querySelector("button")) {
    element.replaceChildren(...children);
  }
}
