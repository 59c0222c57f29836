// Spikes, far more posts of an emotion or a tracked query than is usual at this hour of the week; and drift.

import { get } from "./api.js";
import { byId, el, setText, swatch } from "./dom.js";
import { ago, count, times } from "./format.js";
import { span } from "./state.js";

const MOST = 8;

export async function showAlerts() {
  const { alerts } = await get("/api/alerts", span());
  const newest = [...alerts].sort((a, b) => new Date(b.at) - new Date(a.at)).slice(0, MOST);
  byId("alerts").replaceChildren(...newest.map(row));
  setText(byId("alerts-note"), alerts.length ? count(alerts.length) : "");
  if (!alerts.length) byId("alerts").append(el("li", { class: "note" }, "None in this time."));
}

function row(alert) {
  return alert.kind === "drift" ? drift(alert) : spike(alert);
}

// Not news, but a model, or posts, that are no longer as they were.
function drift(alert) {
  const what = alert.measure === "labels" ? "label mix of a new model" : alert.measure;
  return el("li", {},
    el("p", { class: "head" },
      el("bdi", {}, `Drift: ${what}${alert.emotion ? ` of ${alert.emotion}` : ""}`),
      el("span", {}, `PSI ${alert.value.toFixed(2)}`)),
    el("p", { class: "note" },
      el("bdi", {}, (alert.models ?? [])[0] ?? ""),
      ` · n = ${count(alert.n)}, usual ${alert.baseline.toFixed(2)} · ${ago(new Date(alert.at))}`));
}

function spike(alert) {
  const what = alert.emotion ?? "all posts";
  const terms = (alert.terms ?? []).slice(0, 5).join(", ");
  return el("li", {},
    el("p", { class: "head" },
      alert.emotion ? swatch(alert.emotion) : null,
      el("bdi", {}, alert.query ? `${what} in ${alert.query}` : what),
      el("span", {}, times(alert.ratio))),
    el("p", { class: "note" },
      `${count(alert.value)} of n = ${count(alert.n)}, usual ${count(Math.round(alert.baseline))} · ${ago(new Date(alert.at))}`),
    terms ? el("p", { class: "note" }, el("bdi", {}, terms)) : null);
}
