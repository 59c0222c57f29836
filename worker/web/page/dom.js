// The few words for making elements. Everything shown goes in as text: nothing here parses HTML, and the
// page's content security policy refuses what would.

export const byId = (id) => document.getElementById(id);

// el("li", {class: "x", "aria-label": "y", onclick: f}, "text", child, ...)
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function swatch(emotion) {
  return el("span", { class: `swatch ${emotion}`, "aria-hidden": "true" });
}

// A bar that is `share` (0 to 1) full; the number stands beside it for whoever cannot see it.
export function bar(share, name = "") {
  const made = el("span", { class: `bar ${name}`, "aria-hidden": "true" }, el("i"));
  fill(made, share);
  return made;
}

export function fill(made, share) {
  made.firstElementChild.style.width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
}

// Changes the text only where it differs, so that nobody is told the same again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What people who listen instead of looking are told: only what they asked for, and what went wrong.
export function say(text) {
  setText(byId("said"), text);
}

export function checked(name, value) {
  const found = document.querySelector(`input[name="${name}"][value="${value}"]`);
  if (found) found.checked = true;
}
