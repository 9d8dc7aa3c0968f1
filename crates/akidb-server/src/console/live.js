// Throughput, queue and latency as the server's metrics tell them, every two seconds.

import * as api from "./api.js";
import { byId, element, svg } from "./dom.js";
import { buckets, parse, quantile, total } from "./prometheus.js";
import { short } from "./words.js";

const EVERY_MS = 2_000;
const KEPT = 60;
const WIDTH = 300;
const HEIGHT = 72;

class Curve {
  constructor(id, title, unit, meaning, names) {
    Object.assign(this, { title, unit, names, series: names.map(() => []) });
    this.now = element("p", { class: "now" }, "–");
    this.picture = svg("svg", {
      class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    });
    this.most = element("span");
    const keys = names.length > 1 ? names.map((name, i) => element("span", { class: `key-${i}` }, name)) : [];
    byId(id).append(
      element("figcaption", {}, title, ...keys),
      this.now,
      this.picture,
      element("p", { class: "span", "aria-hidden": "true" }, element("span", {}, "2 min ago"), this.most, element("span", {}, "now")),
      element("p", { class: "hint" }, meaning),
    );
    this.draw();
  }

  /** One value a series; null where there is none. */
  push(values) {
    this.series.forEach((series, i) => {
      series.push(values[i]);
      if (series.length > KEPT) series.shift();
    });
    this.draw();
  }

  draw() {
    const last = this.series.map((series) => series.at(-1) ?? null);
    const shown = last.map((value) => (value === null ? "–" : short(value)));
    const digits = last.every((value) => value === null) ? "–" : shown.join(" · ");
    this.now.replaceChildren(`${digits} `, element("small", {}, this.unit));
    const most = Math.max(...this.series.flat().filter((value) => value !== null), 0);
    this.most.textContent = most > 0 ? `highest ${short(most)}` : "";
    const spoken = this.names.map((name, i) => `${name} ${shown[i]}`.trim()).join(", ");
    this.picture.setAttribute("aria-label", `${this.title}: ${spoken} ${this.unit} now, highest ${short(most)}`);

    const x = (i, length) => WIDTH - ((length - 1 - i) * WIDTH) / (KEPT - 1);
    const y = (value) => HEIGHT - 2 - (value / (most || 1)) * (HEIGHT - 8);
    const parts = [svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 })];
    this.series.forEach((series, which) => {
      const at = series
        .map((value, i) => (value === null ? null : [x(i, series.length), y(value)]))
        .filter((point) => point !== null);
      if (at.length === 0) return;
      const line = at.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
      if (which === 0) {
        parts.push(svg("polygon", { class: "area", points: `${at[0][0]},${HEIGHT} ${line} ${at.at(-1)[0]},${HEIGHT}` }));
      }
      parts.push(svg("polyline", { class: which ? "line second" : "line", points: line }));
    });
    this.picture.replaceChildren(...parts);
  }
}

const throughput = new Curve(
  "curve-throughput",
  "Throughput",
  "tokens/s",
  "Tokens that the model has computed, a second, over the last two seconds. 100 English words are some 130 tokens.",
  [""],
);
const queue = new Curve(
  "curve-queue",
  "Queue",
  "tokens waiting",
  "Tokens of all requests that wait for the model.",
  [""],
);
const latency = new Curve(
  "curve-latency",
  "Latency",
  "ms",
  "From a request's arrival to its answer: half of the last two seconds' requests took no longer than the first number, 95 of 100 no longer than the second.",
  ["median", "95 %"],
);

let before = null;

// The page's own files, probes and the metrics are requests, too.
const embeds = (labels) => labels.interface !== "operation";

function read(samples) {
  return {
    at: performance.now(),
    tokens: total(samples, "akidb_tokens_total") ?? 0,
    waiting: total(samples, "akidb_queue_tokens") ?? 0,
    durations: buckets(samples, "akidb_request_duration_seconds", embeds),
  };
}

function show(after) {
  if (before && after.tokens >= before.tokens) {
    const seconds = (after.at - before.at) / 1000;
    throughput.push([(after.tokens - before.tokens) / seconds]);
    const ms = (q) => {
      const value = quantile(before.durations, after.durations, q);
      return value === null ? null : value * 1000;
    };
    latency.push([ms(0.5), ms(0.95)]);
  }
  queue.push([after.waiting]);
  before = after;
}

/** Reads the metrics for ever; `onSamples` gets them all, `onError` what went wrong. */
export function start(onSamples, onError) {
  const note = byId("live-note");
  let timer = 0;
  async function once() {
    clearTimeout(timer);
    if (document.hidden) return;
    let wait = EVERY_MS;
    try {
      const samples = parse(await api.metrics());
      note.textContent = "";
      show(read(samples));
      onSamples(samples);
    } catch (error) {
      before = null;
      note.textContent =
        error.status === 404 ? "The curves need /metrics, which this server doesn't show." : `No curves: ${error.message}`;
      onError(error);
      wait = 5 * EVERY_MS;
    }
    clearTimeout(timer);
    timer = setTimeout(once, wait);
  }
  document.addEventListener("visibilitychange", once);
  once();
  return once;
}
