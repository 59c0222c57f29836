// Numbers and times as the reader's own browser writes them.

export const EMOTIONS = ["joy", "love", "surprise", "neutral", "sadness", "fear", "anger"];

const whole = new Intl.NumberFormat();
const oneDigit = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short" });
const dayClock = new Intl.DateTimeFormat(undefined, {
  weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});

export const DAY = 86400;

export const count = (n) => whole.format(n);
export const short = (n) => compact.format(n);
export const times = (x) => `×${x >= 99.5 ? whole.format(Math.round(x)) : oneDigit.format(x)}`;

// 0.3417 -> "34 %"; small shares keep a digit, so that they are not all nought.
export function percent(share) {
  if (share == null || Number.isNaN(share)) return "–";
  const hundred = 100 * share;
  return `${hundred > 0 && hundred < 9.95 ? oneDigit.format(hundred) : Math.round(hundred)} %`;
}

// The difference of two shares, in percentage points.
export function points(difference) {
  if (difference == null) return "–";
  const value = 100 * difference;
  if (Math.abs(value) < 0.05) return "± 0";
  return `${value > 0 ? "+" : "−"} ${oneDigit.format(Math.abs(value))}`;
}

// The relative difference of two counts.
export function relative(now, before) {
  if (!before) return null;
  const change = now / before - 1;
  if (Math.abs(change) < 0.005) return "as before";
  const size = Math.abs(100 * change);
  return `${change > 0 ? "+" : "−"} ${size < 1000 ? Math.round(size) : short(size)} %`;
}

export const clockTime = (epoch) => clock.format(epoch * 1000);
export const exactTime = (date) => seconds.format(date);

// The name of a step that begins then.
export function stepTime(epoch, step) {
  const date = new Date(epoch * 1000);
  if (step >= DAY) return day.format(date);
  return Date.now() / 1000 - epoch > 0.8 * DAY ? dayClock.format(date) : clock.format(date);
}

export function stepSpan(epoch, step) {
  return step >= DAY ? stepTime(epoch, step) : `${stepTime(epoch, step)} – ${clockTime(epoch + step)}`;
}

export function ago(date, now = Date.now()) {
  const passed = Math.max(0, (now - date.getTime()) / 1000);
  if (passed < 5) return "now";
  if (passed < 60) return `${Math.floor(passed)} s ago`;
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  return passed < 0.8 * DAY ? clock.format(date) : dayClock.format(date);
}
