// Stacked bars, one a step: the share of each emotion, or how many posts. Bars and not lines, because a step
// is a span of time and its count belongs to all of it.

import { el, setText, swatch } from "./dom.js";
import { EMOTIONS, count, percent, short, stepSpan, stepTime } from "./format.js";

const LABEL_ROOM = 112;
const NARROW = 560;
const LINE_PX = 17;
const SHADE = 0.22;

export class Chart {
  // `onPick(from, to)`: somebody chose a step.
  constructor(host, onPick) {
    this.host = host;
    this.onPick = onPick;
    this.plot = null;
    this.data = null;
    this.mode = "share";
    this.chosen = "";
    this.tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
    this.spoken = el("p", { class: "hidden", "aria-live": "polite" });
    this.empty = el("p", { class: "empty", hidden: true });
    host.append(this.tip, this.spoken, this.empty);
    host.addEventListener("keydown", (event) => this.onKey(event));
    host.addEventListener("blur", () => this.leave());
    new ResizeObserver(() => this.resize()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  // `trend`: the API's answer; `mode`: share or count; `chosen`: the emotion that stands out, or "".
  show(trend, mode, chosen) {
    const same = this.plot && this.mode === mode && this.chosen === chosen && this.step === trend.step;
    Object.assign(this, { data: trend, mode, chosen, step: trend.step });
    this.counts = Object.fromEntries(trend.series.map((one) => [one.emotion, one.points.map((point) => point[1])]));
    this.starts = trend.series[0].points.map((point) => point[0]);
    this.totals = this.starts.map((_, at) => EMOTIONS.reduce((sum, name) => sum + this.counts[name][at], 0));
    if (same) this.plot.setData(this.stacked());
    else this.rebuild();
    this.describe();
  }

  describe() {
    const { n, series, from, to, step } = this.data;
    const leaders = [...series].sort((a, b) => b.total - a.total).filter((one) => one.total).slice(0, 3);
    const said = leaders.map((one) => `${one.emotion} ${percent(one.share)}`).join(", ");
    this.host.setAttribute(
      "aria-label",
      `Emotions from ${stepTime(from, step)} to ${stepTime(to, step)}, ${count(n)} posts${said ? `: ${said}` : ""}`,
    );
    this.empty.hidden = n > 0;
    setText(this.empty, n > 0 ? "" : "No posts in this time.");
  }

  // Where the layer of each emotion ends in each step: running sums from the first emotion up.
  stacked() {
    const sums = this.starts.map(() => 0);
    this.tops = EMOTIONS.map((name) => this.starts.map((_, at) => {
      if (!this.totals[at]) return null;
      sums[at] += this.counts[name][at];
      return this.mode === "share" ? sums[at] / this.totals[at] : sums[at];
    }));
    return [this.starts.map((start) => start + this.step / 2), ...this.tops];
  }

  rebuild() {
    if (!this.data) return;
    this.plot?.destroy();
    const look = getComputedStyle(this.host);
    this.ink = look.color;
    const pick = (name) => look.getPropertyValue(name);
    this.soft = resolved(this.host, pick("--soft"));
    const grid = { stroke: resolved(this.host, pick("--grid")), width: 1 };
    this.colours = Object.fromEntries(EMOTIONS.map((name) => [name, resolved(this.host, pick(`--${name}`))]));
    this.card = resolved(this.host, pick("--card"));
    const font = `12px ${look.fontFamily}`;
    const options = {
      ...this.size(),
      padding: [8, this.room(), 0, 4],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: () => [this.data.from, this.data.to] },
        y: { range: (_, __, most) => [0, this.mode === "share" ? 1 : Math.max(1, most * 1.06)] },
      },
      axes: [
        { stroke: this.soft, font, grid: { show: false }, ticks: { ...grid, size: 4 }, size: 30, gap: 4, space: 74, values: (_, at) => this.ticks(at) },
        {
          stroke: this.soft, font, grid, ticks: { show: false }, size: 46, gap: 6,
          values: (_, at) => at.map((value) => (this.mode === "share" ? `${Math.round(100 * value)} %` : short(value))),
        },
      ],
      series: [{}, ...EMOTIONS.map((name, layer) => this.layer(name, layer))],
      hooks: {
        draw: [(plot) => this.finish(plot, font)],
        setCursor: [(plot) => this.point(plot)],
        ready: [(plot) => plot.over.addEventListener("click", () => this.choose(plot.cursor.idx))],
      },
    };
    this.plot = new uPlot(options, this.stacked(), this.host);
  }

  layer(name, layer) {
    const colour = this.chosen && this.chosen !== name ? faded(this.colours[name], SHADE, this.card) : this.colours[name];
    const paths = (plot, _, first, last) => this.bars(plot, layer, first, last);
    return { label: name, stroke: colour, fill: colour, width: 0, points: { show: false }, paths };
  }

  // The layer's part of every bar, on whole pixels: where half a pixel is shared, colours run into each other.
  bars(plot, layer, first, last) {
    const path = new Path2D();
    const at = (value, scale) => Math.round(plot.valToPos(value, scale, true));
    const gap = at(this.starts[0] + this.step, "x") - at(this.starts[0], "x") >= 5 * devicePixelRatio ? devicePixelRatio : 0;
    for (let index = first; index <= last; index++) {
      const top = this.tops[layer][index];
      if (top == null || !this.counts[EMOTIONS[layer]][index]) continue;
      const left = at(this.starts[index], "x");
      const high = at(top, "y");
      const low = at(layer ? this.tops[layer - 1][index] : 0, "y");
      path.rect(left, high, Math.max(1, at(this.starts[index] + this.step, "x") - left - gap), low - high);
    }
    return { stroke: path, fill: path, clip: null, band: null, gaps: null, flags: 0 };
  }

  ticks(at) {
    let before = "";
    return at.map((value) => {
      const date = new Date(value * 1000);
      const day = date.toLocaleDateString(undefined, { day: "numeric", month: "short" });
      const clock = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
      const midnight = date.getHours() === 0 && date.getMinutes() === 0;
      const long = this.data.to - this.data.from > 2 * 86400;
      const text = midnight || (long && day !== before) ? day : clock;
      before = day;
      return text;
    });
  }

  // After the bars: the step that is still filling, and each emotion's name where its last bar ends.
  finish(plot, font) {
    const { ctx } = plot;
    const ratio = devicePixelRatio;
    const now = Date.now() / 1000;
    const last = this.lastWhole(now);
    ctx.save();
    if (now < this.data.to && now > this.starts.at(-1)) {
      const left = plot.valToPos(this.starts.at(-1), "x", true);
      const right = plot.valToPos(this.data.to, "x", true);
      ctx.globalAlpha = 0.5;
      ctx.fillStyle = this.card;
      ctx.fillRect(left, plot.bbox.top, right - left, plot.bbox.height);
      ctx.globalAlpha = 1;
    }
    if (last >= 0) this.name(plot, last, font, ratio);
    ctx.restore();
  }

  lastWhole(now) {
    for (let at = this.starts.length - 1; at >= 0; at--) {
      if (this.totals[at] && (this.starts[at] + this.step <= now || at === 0 || !this.totals[at - 1])) return at;
    }
    return -1;
  }

  name(plot, at, font, ratio) {
    const { ctx } = plot;
    const narrow = this.host.clientWidth < NARROW;
    let sum = 0;
    const places = EMOTIONS.map((name) => {
      const n = this.counts[name][at];
      const middle = this.mode === "share" ? (sum + n / 2) / this.totals[at] : sum + n / 2;
      sum += n;
      return { name, share: n / this.totals[at], y: plot.valToPos(middle, "y", true) };
    }).filter((one) => one.share > 0);
    spread(places, LINE_PX * ratio, plot.bbox.top + 4 * ratio, plot.bbox.top + plot.bbox.height - 2 * ratio);
    const left = plot.bbox.left + plot.bbox.width + 10 * ratio;
    ctx.font = font.replace("12px", `${12 * ratio}px`);
    ctx.textBaseline = "middle";
    for (const { name, share, y } of places) {
      ctx.globalAlpha = this.chosen && this.chosen !== name ? 0.45 : 1;
      ctx.fillStyle = this.colours[name];
      ctx.fillRect(left, y - 5 * ratio, 4 * ratio, 10 * ratio);
      ctx.fillStyle = this.ink;
      ctx.textAlign = "left";
      ctx.fillText(name, left + 9 * ratio, y);
      if (narrow) continue;
      ctx.fillStyle = this.soft;
      ctx.textAlign = "right";
      ctx.fillText(percent(share), plot.width * ratio - 2 * ratio, y);
    }
  }

  point(plot) {
    const at = plot.cursor.idx;
    if (at == null || plot.cursor.left < 0) {
      this.tip.hidden = true;
      return;
    }
    const rows = [...EMOTIONS].reverse().map((name) => el("tr", {},
      el("td", {}, swatch(name)), el("td", {}, name),
      el("td", { class: "number" }, percent(this.totals[at] ? this.counts[name][at] / this.totals[at] : null)),
      el("td", { class: "number" }, count(this.counts[name][at]))));
    this.tip.replaceChildren(
      el("strong", {}, `${stepSpan(this.starts[at], this.step)} · n = ${count(this.totals[at])}`),
      el("table", {}, el("tbody", {}, ...rows)));
    this.tip.hidden = false;
    const x = plot.over.offsetLeft + plot.cursor.left;
    const right = x + this.tip.offsetWidth + 16 > this.host.clientWidth;
    this.tip.style.left = `${Math.max(0, right ? x - this.tip.offsetWidth - 14 : x + 14)}px`;
  }

  onKey(event) {
    if (!this.plot) return;
    const last = this.starts.length - 1;
    const here = this.plot.cursor.idx ?? last + 1;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.go(Math.min(last, Math.max(0, to)));
    } else if (event.key === "Enter") {
      this.choose(this.plot.cursor.idx);
    } else if (event.key === "Escape") {
      this.leave();
    }
  }

  go(at) {
    const left = this.plot.valToPos(this.starts[at] + this.step / 2, "x");
    this.plot.setCursor({ left, top: 10 });
    const parts = EMOTIONS.filter((name) => this.counts[name][at])
      .map((name) => `${name} ${percent(this.counts[name][at] / this.totals[at])}`);
    setText(this.spoken, `${stepSpan(this.starts[at], this.step)}: ${count(this.totals[at])} posts. ${parts.join(", ")}`);
  }

  leave() {
    this.plot?.setCursor({ left: -10, top: -10 });
  }

  choose(at) {
    if (at != null && this.totals[at]) this.onPick(this.starts[at], this.starts[at] + this.step);
  }

  room() {
    return this.host.clientWidth < NARROW ? 66 : LABEL_ROOM;
  }

  size() {
    return { width: Math.max(200, this.host.clientWidth), height: this.host.clientHeight };
  }

  resize() {
    if (!this.plot || !this.host.clientWidth) return;
    const narrow = this.host.clientWidth < NARROW;
    if (narrow !== this.narrow) this.rebuild();
    else this.plot.setSize(this.size());
    this.narrow = narrow;
  }
}

// A custom property may hold light-dark(): what colour that is now, an element can tell.
function resolved(host, colour) {
  const probe = el("i", { hidden: true });
  probe.style.color = colour;
  host.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function faded(colour, amount, ground) {
  const mixed = (from, to) => from.map((value, at) => Math.round(value * amount + to[at] * (1 - amount)));
  const parts = (text) => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  return `rgb(${mixed(parts(colour), parts(ground)).join(" ")})`;
}

// Moves labels apart to at least `gap`, within `top` and `bottom`, keeping their order (from the bottom up).
function spread(places, gap, top, bottom) {
  let limit = bottom - gap / 2;
  for (const place of places) {
    place.y = Math.min(place.y, limit);
    limit = place.y - gap;
  }
  limit = top + gap / 2 - gap;
  for (const place of [...places].reverse()) {
    place.y = Math.max(place.y, limit + gap);
    limit = place.y;
  }
}
