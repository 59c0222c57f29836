// What is asked for, kept in the address so that it can be bookmarked and sent to somebody.

const RANGES = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000 };
const AUTO_STEP = { "15m": "1m", "1h": "1m", "6h": "5m", "24h": "15m", "7d": "1h", "30d": "6h" };
const STEPS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400 };
const MOST_BARS = 800;
const DEFAULTS = { range: "1h", step: "auto", show: "", mode: "share", emotion: "", kind: "term", view: "live", review: "" };

export const state = { ...DEFAULTS };
const listeners = [];

export function onChange(listener) {
  listeners.push(listener);
}

export function load() {
  const asked = new URLSearchParams(location.search);
  for (const name of Object.keys(DEFAULTS)) {
    if (asked.has(name)) state[name] = asked.get(name);
  }
  if (!(state.range in RANGES)) state.range = DEFAULTS.range;
  if (!["", "random", "low_margin"].includes(state.review)) state.review = "";
  if (state.step !== "auto" && !(state.step in STEPS)) state.step = "auto";
}

// Change some of it; the listeners are told the names of what is different now.
export function set(changes) {
  const different = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  if (!different.length) return;
  Object.assign(state, changes);
  const kept = Object.entries(state).filter(([name, value]) => value !== DEFAULTS[name]);
  history.replaceState(null, "", kept.length ? `?${new URLSearchParams(kept)}` : location.pathname);
  for (const listener of listeners) listener(new Set(different));
}

export const seconds = () => RANGES[state.range];

// The step in the API's words; one that would give more bars than pixels becomes the range's own.
export function step() {
  const asked = state.step === "auto" ? AUTO_STEP[state.range] : state.step;
  return seconds() / STEPS[asked] > MOST_BARS ? AUTO_STEP[state.range] : asked;
}

// "query:brand" -> {query: "brand"}: which posts, as the API takes it.
export function filter() {
  const at = state.show.indexOf(":");
  return at < 0 ? {} : { [state.show.slice(0, at)]: state.show.slice(at + 1) };
}

export const span = () => ({ from: `-${state.range}`, to: "now" });
