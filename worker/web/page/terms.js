// What posts of each emotion speak of more than others do.

import { get } from "./api.js";
import { byId, el, swatch } from "./dom.js";
import { EMOTIONS, count, times } from "./format.js";
import { filter, span, state } from "./state.js";

const FEW = 6;
const MANY = 40;

export async function showTerms() {
  const emotions = state.emotion ? [state.emotion] : EMOTIONS;
  const limit = state.emotion ? MANY : FEW;
  const { kind } = state;
  const answers = await Promise.all(
    emotions.map((emotion) => get("/api/terms", { ...span(), emotion, kind, limit })));
  if (kind !== state.kind) return;
  byId("terms").replaceChildren(...emotions.flatMap((emotion, at) => [
    el("dt", {}, swatch(emotion), emotion),
    el("dd", {}, terms(answers[at].terms)),
  ]));
  byId("terms-note").textContent = Object.keys(filter()).length
    ? "Of all posts of this time. × is how much more a term is used with an emotion than elsewhere."
    : "× is how much more a term is used with an emotion than elsewhere.";
}

function terms(found) {
  if (!found.length) return el("span", { class: "note" }, "nothing that stands out yet");
  return el("ul", {}, ...found.map((one) =>
    el("li", { title: `in ${count(one.n)} posts` }, el("bdi", {}, one.term), el("small", {}, times(one.lift)))));
}
