// The heat map of all similarities: a canvas, because 200 texts have 40 000 cells.

import { byId, colour, element, redrawn } from "./dom.js";
import { shorten, similarity } from "./words.js";

const plot = byId("heat");
const canvas = plot.querySelector("canvas");
const readout = byId("heat-readout");
const details = byId("heat-details");

// In pixels.
const HIGHEST_CELL = 46;
const HIGHEST = 680;

let texts = [];
let rows = [];
let cell = { row: 0, column: 0 };
let layout = { left: 0, top: 0, wide: 1, high: 1 };

function rgb(hex) {
  const n = parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

/** From 0 to 1 along the stops; below 0 as 0. */
function ramp(stops, value) {
  const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const first = Math.min(Math.floor(at), stops.length - 2);
  return stops[first].map((from, k) => Math.round(from + (stops[first + 1][k] - from) * (at - first)));
}

/** Relative luminance as WCAG defines it. */
function luminance(parts) {
  const [r, g, b] = parts.map((part) => {
    const c = part / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

function draw() {
  const n = texts.length;
  const width = plot.clientWidth;
  if (n === 0 || width === 0) return;
  const left = n > 60 ? 0 : width < 460 ? 26 : Math.min(250, Math.round(width * 0.34));
  const top = n > 60 ? 0 : 22;
  const wide = (width - left) / n;
  const high = Math.min(wide, HIGHEST_CELL, HIGHEST / n);
  const height = top + high * n;
  layout = { left, top, wide, high };

  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.clearRect(0, 0, width, height);

  const family = getComputedStyle(document.body).fontFamily;
  const stops = [0, 1, 2, 3, 4].map((stop) => rgb(colour(`--ramp-${stop}`)));
  const inks = [colour("--on-light"), colour("--on-dark")];
  const gap = high > 12 ? 1 : 0;
  context.textBaseline = "middle";
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const fill = ramp(stops, rows[i][j]);
      const [x, y] = [left + j * wide, top + i * high];
      context.fillStyle = `rgb(${fill.join(" ")})`;
      context.fillRect(x, y, wide - gap, high - gap);
      if (wide >= 34 && high >= 20) {
        const [first, second] = inks.map((ink) => contrast(fill, rgb(ink)));
        context.fillStyle = first >= second ? inks[0] : inks[1];
        context.font = `12px ${family}`;
        context.textAlign = "center";
        context.fillText(rows[i][j].toFixed(2).replace("-0.00", "0.00").replace("-", "−"), x + wide / 2, y + high / 2);
      }
    }
  }

  if (left > 0) {
    context.font = `12px ${family}`;
    context.fillStyle = colour("--muted");
    context.textAlign = "center";
    for (const i of numbered(n, (context.measureText(String(n)).width + 8) / wide)) {
      const across = Math.min(left + (i + 0.5) * wide, width - context.measureText(String(i + 1)).width / 2);
      context.fillText(String(i + 1), across, top / 2 - 1);
    }
    for (const i of numbered(n, 14 / high)) {
      const down = top + (i + 0.5) * high;
      context.fillStyle = colour("--muted");
      context.textAlign = "right";
      context.fillText(String(i + 1), left > 26 ? 20 : left - 6, down);
      if (left > 26) {
        context.fillStyle = colour("--ink");
        context.textAlign = "left";
        context.fillText(fitting(context, texts[i], left - 38), 28, down);
      }
    }
  }

  context.strokeStyle = colour("--ink");
  context.lineWidth = 2;
  context.strokeRect(
    left + cell.column * wide,
    top + cell.row * high,
    Math.max(wide - gap, 3),
    Math.max(high - gap, 3),
  );
}

/** Those of `n` that have their numbers, where each takes the place of so many: all, or 1, 5, 10 and so on. */
function numbered(n, places) {
  const every = [1, 2, 5, 10, 20, 50, 100].find((step) => step >= places) ?? n;
  return [...Array(n).keys()].filter((i) => (i + 1) % every === 0 || (i === 0 && every > 2));
}

/** The text cut to a width in pixels. */
function fitting(context, text, width) {
  let length = 60;
  let cut = shorten(text, length);
  while (length > 2 && context.measureText(cut).width > width) cut = shorten(text, --length);
  return cut;
}

function choose(row, column) {
  cell = { row, column };
  const line = (index) => element("span", {}, `${index + 1} of ${texts.length}: ${shorten(texts[index], 160)}`);
  const parts = row === column ? [line(row)] : [line(row), line(column)];
  readout.replaceChildren(element("b", {}, similarity(rows[row][column])), ...parts);
  draw();
}

/** The nearest two texts, to begin with. */
function nearestPair() {
  let best = { row: 0, column: 0, value: -2 };
  for (let row = 0; row < texts.length; row++) {
    for (let column = row + 1; column < texts.length; column++) {
      if (rows[row][column] > best.value) best = { row, column, value: rows[row][column] };
    }
  }
  return best;
}

function table() {
  const head = element("tr", {}, element("th"), ...texts.map((_, i) => element("th", { scope: "col" }, String(i + 1))));
  const body = rows.map((values, i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `${i + 1} ${shorten(texts[i], 40)}`),
      ...Array.from(values, (value) => element("td", {}, similarity(value))),
    ),
  );
  byId("heat-table").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

export function showHeatMap(newTexts, newRows) {
  texts = newTexts;
  rows = newRows;
  byId("heat-card").hidden = false;
  const best = nearestPair();
  const summary =
    texts.length > 1
      ? `Nearest: texts ${best.row + 1} and ${best.column + 1}, ${similarity(best.value)}.`
      : "One text: there is nothing to compare it with.";
  plot.setAttribute("aria-label", `Similarities of ${texts.length} texts. ${summary}`);
  choose(best.row, best.column);
  byId("heat-table").replaceChildren();
  if (details.open) table();
}

function under(event) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left - layout.left) / layout.wide);
  const row = Math.floor((event.clientY - box.top - layout.top) / layout.high);
  const inside = (index) => index >= 0 && index < texts.length;
  if (inside(row) && inside(column) && (row !== cell.row || column !== cell.column)) choose(row, column);
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

canvas.addEventListener("pointermove", under);
canvas.addEventListener("pointerdown", under);
plot.addEventListener("keydown", (event) => {
  const last = texts.length - 1;
  const within = (index) => Math.min(Math.max(index, 0), last);
  if (STEPS[event.key]) {
    const [down, right] = STEPS[event.key];
    choose(within(cell.row + down), within(cell.column + right));
  } else if (event.key === "Home") choose(cell.row, 0);
  else if (event.key === "End") choose(cell.row, last);
  else return;
  event.preventDefault();
});
details.addEventListener("toggle", () => {
  if (details.open && rows.length > 0 && !byId("heat-table").firstChild) table();
});
redrawn(plot, draw, true);
