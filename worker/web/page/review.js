// Labels of a slice to be judged, one after the other. Every answer is a correction: one that names the label
// that stands there says that it is right.

import { get } from "./api.js";
import { byId, el, say, setText, swatch } from "./dom.js";
import { ago, count, EMOTIONS, percent } from "./format.js";
import { state } from "./state.js";
import { authorised, by } from "./token.js";

const FIRST = 100;
const MOST = 5000;
const DAY = { from: "-24h", to: "now" };
const REVIEWED = "moodstream.reviewed";

const note = byId("review-note");
const card = byId("review-card");
const text = byId("review-text");
const outcome = byId("review-outcome");
const back = byId("review-back");

const answered = new Set();
const skipped = new Set();
let offer = null;
let queue = [];
let current = null;
let before = null;
let busy = false;
let onEmpty = () => {};

// Nothing is left to be shown: somebody should ask the server again.
export function onReviewed(listener) {
  onEmpty = listener;
}

// A topic that is made anew counts its offsets from nought: the time tells its posts from the old ones.
const nameOf = (post) => `${post.label_ref} ${post.created_at}`;
const isOpen = (post) => !answered.has(nameOf(post)) && !skipped.has(nameOf(post));
const hasText = (post) => post.text != null;
const isEmpty = (post) => !post.text.trim();
const wordsOf = (post) => (isEmpty(post) ? "This post is empty." : post.text);

function kept() {
  try {
    return JSON.parse(localStorage.getItem(REVIEWED) ?? "[]").map(String);
  } catch {
    return []; // storage is off, or holds something else
  }
}

// This browser shows it no more, in any tab.
function remember(post) {
  const all = new Set([...kept(), nameOf(post)]);
  answered.add(nameOf(post));
  try { localStorage.setItem(REVIEWED, JSON.stringify([...all].slice(-MOST))); } catch { /* storage is off */ }
}

// The server knows no reader, and gives the same labels first: more are asked for while all of them are answered.
async function offered(slice) {
  for (let limit = FIRST; ; limit = Math.min(5 * limit, MOST)) {
    const found = await get("/api/review", { slice, ...DAY, limit });
    const open = found.labels.filter(isOpen);
    const whole = found.n < limit || limit === MOST;
    if (whole || open.some(hasText)) return { ...found, slice, open, whole };
  }
}

// Asked for again now and then, so that a post that was deleted meanwhile is not shown.
export async function showReview() {
  const slice = state.review;
  if (!slice) return;
  for (const name of kept()) answered.add(name);
  const found = await offered(slice);
  if (slice !== state.review || busy) return;
  const other = offer?.slice !== slice;
  offer = found;
  queue = found.open.filter(hasText);
  if (other) {
    before = null;
    outcome.hidden = true;
  }
  const stays = !other && current && found.labels.some((post) => nameOf(post) === nameOf(current));
  if (stays) queue = queue.filter((post) => nameOf(post) !== nameOf(current));
  else current = queue.shift() ?? null;
  draw();
}

function draw() {
  const focused = card.contains(document.activeElement);
  card.hidden = !current;
  back.setAttribute("aria-disabled", String(!before));
  setText(note, current ? about() : nothing());
  if (!current) {
    text.textContent = "";
    if (focused) note.focus();
    return;
  }
  text.textContent = wordsOf(current);
  text.classList.toggle("none", isEmpty(current));
  setText(byId("review-where"), [current.source, current.lang].filter(Boolean).join(" · "));
  const when = byId("review-when");
  when.dateTime = current.created_at;
  setText(when, ago(new Date(current.created_at)));
  byId("review-label").replaceChildren(swatch(current.label), current.label);
  for (const button of card.querySelectorAll("[data-label]")) {
    button.classList.toggle("is", button.dataset.label === current.label);
  }
}

function about() {
  const what = offer.slice === "random"
    ? `${percent(offer.random_share)} of all labels, drawn by chance: their accuracy is the stream's.`
    : `Close calls: the best answer is less than ${Math.round(100 * offer.low_margin)} points ahead of the second.`;
  return `${what} n = ${count(queue.length + 1)}${offer.whole ? "" : " or more"} to review, of the last 24 hours.`;
}

// Why there is nothing to judge, and what would change that.
function nothing() {
  if (!offer.n) return "No labels of this slice are kept of the last 24 hours. New ones come as posts are labelled.";
  if (!offer.open.length) return `You are through all ${count(offer.n)} labels of the last 24 hours. New ones come as posts are labelled.`;
  const many = `${count(offer.open.length)} labels wait here without the texts of their posts, so nobody can judge them.`;
  return offer.store_text
    ? `${many} trends.store_text is on and keeps the texts of what was counted since; the labels carry them where worker.label_text is on.`
    : `${many} The setting trends.store_text=on keeps the texts of what is counted from then on (MOODSTREAM_TRENDS__STORE_TEXT).`;
}

function next() {
  current = queue.shift() ?? null;
  if (!current) offer.open = [];
  draw();
  if (!current) onEmpty();
  return current ? `Next: ${wordsOf(current)} – ${current.label}?` : note.textContent;
}

async function answer(label) {
  if (busy || !current) return;
  busy = true;
  const post = current;
  try {
    const request = () => ({ id: post.id, label, label_ref: post.label_ref, by: by() });
    if (await authorised("POST", "/api/corrections", request) === null) return;
    remember(post);
    before = post;
    told(label === post.label ? `✓ Right: ${label}.` : `✓ Corrected: ${label}, was ${post.label}.`, "outcome");
    say(`${outcome.textContent} ${next()}`);
  } catch (error) {
    told(`Not saved. ${error.message}`, "outcome problem");
    say(outcome.textContent);
  } finally {
    busy = false;
  }
}

function told(what, kind) {
  outcome.className = kind;
  outcome.textContent = what;
  outcome.hidden = false;
}

// Not judged, and not shown again before the page is loaded anew.
function skip() {
  if (busy || !current) return;
  skipped.add(nameOf(current));
  told("Skipped.", "outcome");
  say(`Skipped. ${next()}`);
}

// The one before, to be judged once more: of each person the last word counts.
function again() {
  if (busy || !before) return;
  if (current) queue.unshift(current);
  current = before;
  before = null;
  outcome.hidden = true;
  draw();
  say(`Once more: ${wordsOf(current)} – ${current.label}?`);
}

const keys = { y: () => answer(current?.label), s: skip, b: again };
EMOTIONS.forEach((label, at) => {
  const key = String(at + 1);
  keys[key] = () => answer(label);
  byId("review-labels").append(el("button", {
    type: "button", "data-label": label, "aria-keyshortcuts": key, onclick: keys[key],
  }, swatch(label), label, el("kbd", { "aria-hidden": "true" }, key)));
});
byId("review-yes").addEventListener("click", keys.y);
byId("review-skip").addEventListener("click", skip);
back.addEventListener("click", again);

// Single keys, but only for who is in this part of the page.
byId("review").addEventListener("keydown", (event) => {
  const act = keys[event.key.toLowerCase()];
  if (!act || event.ctrlKey || event.metaKey || event.altKey || event.repeat || card.hidden) return;
  event.preventDefault();
  act();
});
