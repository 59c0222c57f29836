// A label put right by a person: a small menu of the seven labels under a post's own.

import { el, say, swatch } from "./dom.js";
import { EMOTIONS } from "./format.js";
import { authorised, by } from "./token.js";

// A post's label as a button that opens the menu; `note` takes what became of it.
export function chip(post, note) {
  const name = el("span", {}, post.label);
  const mark = swatch(post.label);
  const button = el("button", {
    class: "chip", type: "button", "aria-haspopup": "menu", "aria-expanded": "false",
    title: "Not right? Choose what the post expresses.",
  }, mark, name, el("span", { class: "hidden" }, ", correct it"));
  const shown = (label) => {
    post.label = label;
    name.textContent = label;
    mark.className = `swatch ${label}`;
  };
  button.addEventListener("click", () => toggle(button, post.label, (label) => correct(post, label, note, shown)));
  return button;
}

async function correct(post, label, note, shown) {
  const before = post.label;
  if (label === before) return;
  shown(label);
  note.className = "outcome";
  note.textContent = "Sending …";
  note.hidden = false;
  try {
    const request = () => ({ id: post.id, label, label_ref: post.label_ref, by: by() });
    const done = await authorised("POST", "/api/corrections", request);
    if (done === null) {
      shown(before);
      note.hidden = true;
      return;
    }
    note.textContent = `✓ Corrected: ${label}, was ${before}.`;
  } catch (error) {
    shown(before);
    note.className = "outcome problem";
    note.textContent = `Not saved. ${error.message}`;
  }
  say(note.textContent);
}

let open = null;

function toggle(button, current, choose) {
  const mine = open?.button === button;
  close();
  if (mine) return;
  const items = EMOTIONS.map((label) => el("button", {
    type: "button", role: "menuitemradio", "aria-checked": String(label === current), tabindex: "-1",
    onclick: () => {
      close(true);
      choose(label);
    },
  }, swatch(label), label));
  const menu = el("div", { class: "menu", role: "menu", "aria-label": "What the post expresses" }, ...items);
  menu.addEventListener("keydown", (event) => onKey(event, items));
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget) && event.relatedTarget !== button) close();
  });
  button.setAttribute("aria-expanded", "true");
  button.closest("li").append(menu);
  open = { button, menu };
  (items.find((item) => item.getAttribute("aria-checked") === "true") ?? items[0]).focus();
}

function onKey(event, items) {
  const here = items.indexOf(document.activeElement);
  const to = { ArrowDown: here + 1, ArrowUp: here - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  const letter = event.key.length === 1 && items.find((item) => item.textContent.startsWith(event.key.toLowerCase()));
  if (to !== undefined) items[to % items.length].focus();
  else if (event.key === "Escape") close(true);
  else if (letter) letter.focus();
  else return;
  event.preventDefault();
}

function close(returning = false) {
  if (!open) return;
  const { button, menu } = open;
  open = null;
  button.setAttribute("aria-expanded", "false");
  if (returning) button.focus();
  menu.remove();
}

export const isOpen = () => open !== null;

document.addEventListener("click", (event) => {
  if (open && !open.menu.contains(event.target) && !open.button.contains(event.target)) close();
});
