// The stream of server-sent events, opened anew when what is asked for changes and when it breaks.

import { link } from "./api.js";

const AGAIN_MS = 4000;

export class Live {
  // `onLabel(label)`, `onTick(tick)`, `onState("live" | "away")`.
  constructor({ onLabel, onTick, onState }) {
    Object.assign(this, { onLabel, onTick, onState });
    this.source = null;
    this.timer = 0;
    this.wanted = {};
  }

  open(wanted) {
    this.wanted = wanted;
    this.close();
    const source = new EventSource(link("/api/live", wanted));
    source.addEventListener("open", () => this.onState("live"));
    source.addEventListener("label", (event) => this.onLabel(JSON.parse(event.data)));
    source.addEventListener("tick", (event) => this.onTick(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      this.onState("away");
      // A browser tries again by itself where the connection broke, but not where it was refused.
      if (source.readyState === EventSource.CLOSED) this.timer = setTimeout(() => this.open(this.wanted), AGAIN_MS);
    });
    this.source = source;
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
