// The posts: live, as they are counted, or samples of the time that the chart shows.

import { get } from "./api.js";
import { chip, isOpen } from "./correct.js";
import { bar, byId, el, setText } from "./dom.js";
import { ago, count, percent, stepSpan } from "./format.js";
import { filter, span, state } from "./state.js";

const SHOWN = 12;
const EVERY_MS = 350;

const list = byId("feed");
const note = byId("feed-note");
const pauseButton = byId("pause");

const waiting = [];
const seen = new Set();
let stopped = false;
let hovering = false;
let picked = null;
let asked = 0;

// One post of the stream. Of more than can be read, the newest is shown.
export function arrived(post) {
  if (state.view !== "live" || seen.has(post.label_ref)) return;
  waiting.push(post);
  if (waiting.length > 50) waiting.shift();
}

// Nothing moves under a pointer, or under somebody who walks through the posts with the keyboard.
function paused() {
  return stopped || hovering || isOpen() || list.querySelector(":focus-visible") !== null;
}

function turn() {
  for (const when of list.querySelectorAll("time")) setText(when, ago(new Date(when.dateTime)));
  if (state.view !== "live" || !waiting.length) return;
  if (paused()) {
    setText(note, `Held still: ${waiting.length === 50 ? "50 or more" : waiting.length} new.`);
    return;
  }
  const post = waiting.pop();
  waiting.length = 0;
  seen.add(post.label_ref);
  if (seen.size > 500) seen.delete(seen.values().next().value);
  if (list.firstElementChild?.classList.contains("nothing")) list.replaceChildren();
  list.prepend(row(post));
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  setText(note, "Not right? Choose a post's label and correct it.");
}

function row(post) {
  const outcome = el("p", { class: "outcome", hidden: true });
  const where = [post.source, post.lang].filter(Boolean).join(" · ");
  const when = el("time", { datetime: post.created_at }, ago(new Date(post.created_at)));
  return el("li", {},
    el("div", { class: "line" },
      chip(post, outcome),
      el("span", { class: "sure" }, bar(post.score, post.label), percent(post.score)),
      el("span", { class: "when" }, el("bdi", {}, where), " · ", when)),
    post.text == null
      ? el("p", { class: "text none" }, "This stream keeps no text.")
      : el("p", { class: "text", dir: "auto" }, post.text),
    outcome);
}

function fill(posts, otherwise) {
  list.replaceChildren(...posts.slice(0, SHOWN).map(row));
  if (!posts.length) list.append(el("li", { class: "nothing note" }, otherwise));
}

// Begin again: what is asked for has changed.
export async function restart() {
  const mine = ++asked;
  waiting.length = 0;
  seen.clear();
  pauseButton.hidden = state.view !== "live";
  const time = state.view === "samples" && picked ? picked : span();
  const emotion = state.view === "samples" ? state.emotion : "";
  const { samples } = await get("/api/samples", { ...time, ...filter(), emotion, limit: SHOWN });
  if (mine !== asked) return;
  if (state.view === "live") {
    fill(samples, "Nothing yet: posts appear here as they are labelled.");
    for (const post of samples) seen.add(post.label_ref);
    setText(note, "Not right? Choose a post's label and correct it.");
  } else {
    fill(samples, "No samples are kept of this.");
    const what = [emotion, picked ? stepSpan(picked.from, picked.to - picked.from) : "of the whole time"];
    setText(note, `${count(samples.length)} kept as examples: ${what.filter(Boolean).join(", ")}.`);
  }
}

// The samples of one step (epoch seconds), or of all the time shown (null).
export function pick(time) {
  picked = time;
}

pauseButton.addEventListener("click", () => {
  stopped = !stopped;
  pauseButton.setAttribute("aria-pressed", String(stopped));
  setText(pauseButton, stopped ? "Go on" : "Pause");
});
list.addEventListener("pointerenter", (event) => { hovering = event.pointerType === "mouse"; });
list.addEventListener("pointerleave", () => { hovering = false; });
setInterval(turn, EVERY_MS);
