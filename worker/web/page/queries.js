// Tracked queries and their share of voice.

import { get } from "./api.js";
import { bar, byId, el, say, setText } from "./dom.js";
import { count, percent } from "./format.js";
import { set, span, state } from "./state.js";
import { authorised } from "./token.js";

const list = byId("queries");
const problem = byId("track-problem");
let onNames = () => {};

export function onQueries(listener) {
  onNames = listener;
}

export async function showQueries() {
  const [{ queries }, voice] = await Promise.all([get("/api/queries"), get("/api/voice", span())]);
  const shares = new Map(voice.queries.map((one) => [one.name, one]));
  onNames(queries.map((query) => query.name));
  if (list.querySelector(":focus-visible, .asking")) return; // take no button away from under a finger
  list.replaceChildren(...queries.map((query) => row(query, shares.get(query.name))));
  setText(byId("queries-note"), queries.length ? `of n = ${count(voice.n)}` : "");
  if (!queries.length) list.append(el("li", { class: "note" }, "Nothing is tracked yet."));
}

function row(query, voice) {
  const mine = `query:${query.name}`;
  const remove = el("button", { class: "quiet remove", type: "button", "aria-label": `Stop tracking ${query.name}` }, "×");
  remove.addEventListener("click", () => stop(query.name, remove));
  remove.addEventListener("blur", () => {
    setText(remove, "×");
    remove.classList.remove("asking");
  });
  return el("li", {},
    el("button", {
      class: "name", type: "button", "aria-pressed": String(state.show === mine),
      onclick: () => set({ show: state.show === mine ? "" : mine }),
    }, query.name),
    el("span", { class: "voice" }, voice ? `${percent(voice.share)} · ${count(voice.n)}` : "–"),
    remove,
    el("span", { class: "expression note", title: query.expression }, query.expression),
    bar(voice?.share ?? 0));
}

// Its counts go with it: the second click is the yes.
async function stop(name, button) {
  if (button.textContent === "×") {
    setText(button, "Remove?");
    button.classList.add("asking");
    return;
  }
  await changed(async () => {
    if (await authorised("DELETE", `/api/queries/${encodeURIComponent(name)}`) === null) return;
    say(`${name} is no longer tracked.`);
    button.blur();
    if (state.show === `query:${name}`) set({ show: "" });
  });
}

async function changed(change) {
  problem.hidden = true;
  try {
    await change();
    await showQueries();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    return error;
  }
  return null;
}

byId("track").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = byId("track-name");
  const expression = byId("track-expression");
  const error = await changed(async () => {
    const path = `/api/queries/${encodeURIComponent(name.value.trim())}`;
    if (await authorised("PUT", path, { expression: expression.value }) === null) return;
    say(`${name.value} is tracked from now on.`);
    name.value = expression.value = "";
  });
  if (error?.position != null) {
    problem.textContent = `${expression.value}\n${" ".repeat(error.position)}^ ${error.message}`;
    expression.focus();
    expression.setSelectionRange(error.position, error.position + 1);
  }
});
