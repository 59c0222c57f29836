// Puts the page together: what is asked for, who asks the server when, and what happens when it is away.

import { ApiError, get, link } from "./api.js";
import { showAlerts } from "./alerts.js";
import { Chart } from "./chart.js";
import { byId, checked, el, say, setText } from "./dom.js";
import { arrived, pick, restart } from "./feed.js";
import { count, exactTime, percent, stepTime } from "./format.js";
import { Live } from "./live.js";
import { showMoods, showTable } from "./moods.js";
import { onQueries, showQueries } from "./queries.js";
import { onReviewed, showReview } from "./review.js";
import { filter, load, onChange, seconds, set, span, state, step } from "./state.js";
import { showTerms } from "./terms.js";
import { takeFromAddress } from "./token.js";

const RETRY_MS = 2000;
const names = { sources: [], langs: [], queries: [] };
let trend = null;
let answeredAt = null;
let told = "";

const chart = new Chart(byId("plot"), (from, to) => {
  pick({ from, to });
  if (state.view === "samples") posts.now();
  else set({ view: "samples" });
});

// One part of the page: asks again every `everyS()` seconds while somebody looks, sooner when told `soon`, and
// never twice at the same time. All parts share one idea of whether the server is there.
class Part {
  constructor(ask, everyS, leastS = 0) {
    Object.assign(this, { ask, everyS, leastS, asking: false, again: false, timer: 0, hurry: 0, askedAt: 0, problem: null });
  }

  async now() {
    clearTimeout(this.timer);
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    this.askedAt = performance.now();
    let wait = 1000 * this.everyS();
    try {
      await this.ask();
      this.problem = null;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.problem = error;
      if (error.passing) wait = RETRY_MS;
    } finally {
      this.asking = false;
    }
    showProblem();
    if (this.again) {
      this.again = false;
      this.now();
    } else if (!document.hidden) {
      this.timer = setTimeout(() => this.now(), wait);
    }
  }

  // There is news: ask within `leastS` of the last time.
  soon() {
    const due = this.askedAt + 1000 * this.leastS() - performance.now();
    if (this.asking || due <= 0) {
      if (!this.asking) this.now();
    } else if (!this.hurry) {
      this.hurry = setTimeout(() => {
        this.hurry = 0;
        this.now();
      }, due);
    }
  }
}

const slow = (fast, slower) => () => (seconds() <= 3600 ? fast : slower);
const trends = new Part(showTrends, slow(10, 30), () => Math.max(1, seconds() / 20000));
const posts = new Part(restart, slow(1e6, 1e6));
const terms = new Part(showTerms, slow(10, 60));
const queries = new Part(showQueries, slow(5, 30));
const alerts = new Part(showAlerts, slow(10, 30));
const sources = new Part(showNames, slow(60, 60));
const review = new Part(showReview, () => 60);
const parts = [trends, posts, terms, queries, alerts, sources, review];

const live = new Live({
  onLabel: (label) => {
    arrived(label);
    trends.soon();
  },
  onTick: (tick) => {
    if (tick.counted) trends.soon();
    setText(byId("pulse-text"), `Live · ${count(tick.counted)} posts/s`);
  },
  onState: (now) => {
    byId("pulse").dataset.state = now;
    if (now === "away") setText(byId("pulse-text"), "Not live: connecting again");
    else if (!byId("pulse-text").textContent.startsWith("Live")) setText(byId("pulse-text"), "Live");
  },
});

async function showTrends() {
  const asked = JSON.stringify([span(), step(), filter()]);
  const question = { ...span(), step: step(), ...filter(), compare: "previous" };
  const answer = await get("/api/trends", question);
  if (asked !== JSON.stringify([span(), step(), filter()])) return;
  const first = trend === null;
  trend = answer;
  answeredAt = new Date();
  draw();
  byId("csv").href = link("/api/trends", { ...question, compare: "", format: "csv" });
  if (first) performance.mark("moodstream:shown");
  if (told && told !== asked) say(summary());
  told = asked;
}

function draw() {
  if (!trend) return;
  chart.show(trend, state.mode, state.emotion);
  showMoods(trend);
  showTable(trend);
  const since = trend.since ? ` Counted since ${stepTime(trend.since, 60)}.` : "";
  setText(byId("plot-note"), `n = ${count(trend.n)} · ${stepTime(trend.from, trend.step)} to ${stepTime(trend.to, trend.step)}.${since}`);
}

function summary() {
  const best = trend.series.reduce((most, one) => (one.total > most.total ? one : most));
  return trend.n ? `${count(trend.n)} posts, most of them ${best.emotion}, ${percent(best.share)}.` : "No posts in this time.";
}

async function showNames() {
  Object.assign(names, await get("/api/names"));
  options();
}

// The choice of posts: one filter at a time, which is what the store keeps counts of.
function options() {
  const select = byId("show");
  const groups = [["Tracked", "query", names.queries], ["Source", "source", names.sources], ["Language", "lang", names.langs]];
  const wanted = JSON.stringify(groups);
  if (select.dataset.options === wanted || document.activeElement === select) return;
  select.dataset.options = wanted;
  select.replaceChildren(el("option", { value: "" }, "all"), ...groups.filter(([, , given]) => given.length).map(
    ([label, kind, given]) => el("optgroup", { label }, ...given.map((name) => el("option", { value: `${kind}:${name}` }, name)))));
  if (state.show && ![...select.options].some((option) => option.value === state.show)) {
    select.append(el("option", { value: state.show }, state.show));
  }
  select.value = state.show;
}

// What is wrong with the first part that has a problem; nothing, once every part has its answer again.
function showProblem() {
  const away = byId("away");
  const error = parts.find((part) => part.problem)?.problem;
  if (!error) {
    if (!away.hidden) say("The server answers again.");
    away.hidden = true;
    setText(away, "");
    return;
  }
  const since = answeredAt ? ` What you see is from ${exactTime(answeredAt)}.` : "";
  const next = error.passing ? " Asking again." : "";
  setText(away, `${error.message.replace(/\.?$/, ".")}${since}${next}`);
  away.hidden = false;
}

function controls() {
  for (const name of ["range", "mode", "kind", "view", "review"]) {
    checked(name, state[name]);
    for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
      input.addEventListener("change", () => set({ [name]: input.value }));
    }
  }
  byId("step").value = state.step;
  byId("step").addEventListener("change", (event) => set({ step: event.target.value }));
  options();
  byId("show").addEventListener("change", (event) => set({ show: event.target.value }));
  byId("asked").addEventListener("submit", (event) => event.preventDefault());
  byId("table").addEventListener("toggle", () => trend && showTable(trend));
  const theme = byId("theme");
  const themes = ["auto", "light", "dark"];
  const name = () => setText(byId("theme-name"), document.documentElement.dataset.theme ?? "auto");
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % 3];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try { localStorage.setItem("moodstream.theme", next); } catch { /* storage is off */ }
    name();
    chart.rebuild();
  });
  name();
}

onChange((changed) => {
  const any = (...these) => these.some((name) => changed.has(name));
  if (any("range", "step", "show")) {
    pick(null);
    trends.now();
  }
  if (any("mode", "emotion")) draw();
  if (any("view")) checked("view", state.view);
  if (any("view", "show") || (state.view === "samples" && any("range", "emotion"))) posts.now();
  if (any("show")) {
    options();
    byId("show").value = state.show;
    live.open(filter());
  }
  if (any("range", "emotion", "kind", "show")) terms.now();
  if (any("range", "show")) queries.now();
  if (any("range")) alerts.now();
  if (any("review")) review.now();
});

onQueries((found) => {
  names.queries = found;
  options();
});

onReviewed(() => review.now());

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    live.close();
  } else {
    live.open(filter());
    for (const part of parts) part.now();
  }
});

takeFromAddress();
load();
controls();
live.open(filter());
// The chart first: a browser asks a server a few things at a time.
trends.now().finally(() => parts.filter((part) => part !== trends).forEach((part) => part.now()));
