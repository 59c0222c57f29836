// The numbers beside the chart: tiles, each emotion now and before, and the chart as a table.

import { bar, byId, el, fill, setText, swatch } from "./dom.js";
import { EMOTIONS, count, percent, points, relative, short, stepTime } from "./format.js";
import { set, state } from "./state.js";

const rows = new Map();

export function showMoods(trend) {
  const series = new Map(trend.series.map((one) => [one.emotion, one]));
  const before = new Map((trend.previous?.series ?? []).map((one) => [one.emotion, one]));
  const known = (trend.previous?.n ?? 0) > 0;
  const most = Math.max(1, ...trend.series.map((one) => one.total));
  for (const name of EMOTIONS) {
    const now = series.get(name);
    const change = known && trend.n ? now.share - before.get(name).share : null;
    const { row, share, change: moved, posts, sure } = rows.get(name) ?? make(name);
    row.className = state.emotion === name ? "chosen" : "";
    row.querySelector("button").setAttribute("aria-pressed", String(state.emotion === name));
    fill(row.querySelector(".bar"), trend.n ? now.total / most : 0);
    setText(share, percent(trend.n ? now.share : null));
    setText(moved, points(change));
    setText(posts, count(now.total));
    setText(sure, percent(now.mean_score));
  }
  setText(byId("moods-note"), known ? `before: n = ${count(trend.previous.n)}` : "no posts before");
  tiles(trend, series, before, known);
}

function make(name) {
  const button = el("button", {
    type: "button", "aria-pressed": "false", title: `Look at ${name} alone`,
    onclick: () => set({ emotion: state.emotion === name ? "" : name }),
  }, swatch(name), el("span", {}, name), bar(0, name));
  const cells = {
    share: el("td", { class: "number" }), change: el("td", { class: "number change" }),
    posts: el("td", { class: "number" }), sure: el("td", { class: "number wide note" }),
  };
  const row = el("tr", {}, el("th", { scope: "row" }, button), cells.share, cells.change, cells.posts, cells.sure);
  byId("moods").append(row);
  const made = { row, ...cells };
  rows.set(name, made);
  return made;
}

function tiles(trend, series, before, known) {
  setText(byId("tile-n"), trend.n < 100000 ? count(trend.n) : short(trend.n));
  const change = known ? relative(trend.n, trend.previous.n) : null;
  setText(byId("tile-n-note"), change ? `${change} on the time before` : "");
  const authors = trend.unique_authors;
  setText(byId("tile-authors"), authors == null ? "–" : authors < 100000 ? count(authors) : short(authors));
  setText(byId("tile-authors-note"), authors ? `about ${(trend.n / authors).toFixed(1)} posts each` : "");
  const leader = [...series.values()].reduce((best, one) => (one.total > best.total ? one : best));
  mood("lead", trend.n ? leader.emotion : "", trend.n ? `${percent(leader.share)} of n = ${count(trend.n)}` : "");
  const moves = EMOTIONS.map((name) => ({ name, by: known && trend.n ? series.get(name).share - before.get(name).share : 0 }));
  const most = moves.reduce((best, one) => (Math.abs(one.by) > Math.abs(best.by) ? one : best));
  mood("moved", most.by ? most.name : "", most.by ? `${points(most.by)} points of share` : "");
}

function mood(tile, name, note) {
  const place = byId(`tile-${tile}`);
  if (place.textContent !== (name || "–") || !place.firstElementChild) {
    place.replaceChildren(...(name ? [swatch(name), name] : ["–"]));
  }
  setText(byId(`tile-${tile}-note`), note);
}

// Only while it is open: some hundred rows, each time there is news, would be work for nothing.
export function showTable(trend) {
  if (!byId("table").open) return;
  const counts = Object.fromEntries(trend.series.map((one) => [one.emotion, one.points]));
  const starts = trend.series[0].points.map((point) => point[0]);
  const head = el("tr", {}, ...["Step from", ...EMOTIONS, "n"].map((name) => el("th", { scope: "col" }, name)));
  const body = starts.map((start, at) => {
    const numbers = EMOTIONS.map((name) => counts[name][at][1]);
    const cells = [...numbers, numbers.reduce((sum, n) => sum + n, 0)].map((n) => el("td", {}, count(n)));
    return el("tr", {}, el("th", { scope: "row" }, stepTime(start, trend.step)), ...cells);
  });
  byId("table-here").replaceChildren(el("table", {},
    el("caption", { class: "hidden" }, `Posts per step and emotion, n = ${count(trend.n)}`),
    el("thead", {}, head), el("tbody", {}, ...body.reverse())));
}
