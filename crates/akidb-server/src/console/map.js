// The texts and the query as points in a plane.

import { byId, element, redrawn, svg } from "./dom.js";
import { shorten, similarity } from "./words.js";

const plot = byId("map");
const readout = byId("map-readout");

let texts = [];
let queryIndex = -1;
let points = [];
let rows = [];
let chosen = 0;
let places = [];

function draw() {
  const [width, height] = [plot.clientWidth, plot.clientHeight];
  if (texts.length === 0 || width === 0) return;
  const margin = 26;
  const spread = (axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [bottom, top]] = [spread(0), spread(1)];
  // One scale for both axes: distances in the picture are distances on the plane.
  const scale = Math.min(
    (width - 2 * margin) / Math.max(right - left, 1e-9),
    (height - 2 * margin) / Math.max(top - bottom, 1e-9),
  );
  const still = right - left < 1e-9 && top - bottom < 1e-9 ? 0 : scale;
  places = points.map(([x, y]) => [
    width / 2 + (x - (left + right) / 2) * still,
    height / 2 - (y - (bottom + top) / 2) * still,
  ]);

  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
  const origin = [width / 2 - ((left + right) / 2) * still, height / 2 + ((bottom + top) / 2) * still];
  picture.append(
    svg("line", { class: "axis", x1: 0, x2: width, y1: origin[1], y2: origin[1] }),
    svg("line", { class: "axis", y1: 0, y2: height, x1: origin[0], x2: origin[0] }),
  );
  const radius = texts.length > 60 ? 4 : 6;
  places.forEach(([x, y], index) => {
    const mark =
      index === queryIndex
        ? svg("rect", {
            class: "point query",
            x: x - radius,
            y: y - radius,
            width: 2 * radius,
            height: 2 * radius,
            transform: `rotate(45 ${x} ${y})`,
          })
        : svg("circle", { class: "point", cx: x, cy: y, r: radius });
    mark.dataset.index = String(index);
    picture.append(mark);
  });
  const [x, y] = places[chosen];
  picture.append(svg("circle", { class: "ring", cx: x, cy: y, r: radius + 4 }));
  plot.replaceChildren(picture);
  label(picture, width, height, radius);
}

// Of more texts, most labels are numbers.
const MOST_WORDS = 12;

/** Labels where they hit neither a point nor another label; the query's and the chosen one's first. */
function label(picture, width, height, radius) {
  const around = (index) => radius + (index === chosen ? 5 : 0);
  const taken = places.map(([x, y], index) => {
    const r = around(index);
    return [x - r, y - r, x + r, y + r];
  });
  const free = (box) =>
    box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height &&
    taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
  const order = [...texts.keys()].sort((a, b) => rank(b) - rank(a));
  for (const index of order) {
    const [x, y] = places[index];
    const worded = texts.length <= MOST_WORDS || rank(index) > 0;
    for (const length of worded ? [30, 18, 0] : [0]) {
      const number = index === queryIndex ? "query" : String(index + 1);
      const words = length > 0 && index !== queryIndex ? `${number} ${shorten(texts[index], length)}` : number;
      const text = svg("text", index === queryIndex ? { class: "query" } : {}, words);
      picture.append(text);
      const wide = text.getComputedTextLength();
      const gap = around(index) + 4;
      const spots = [
        [x + gap, y + 4],
        [x - gap - wide, y + 4],
        [x - wide / 2, y - gap - 2],
        [x - wide / 2, y + gap + 10],
      ];
      const spot = spots.find(([left, base]) => free([left, base - 11, left + wide, base + 3]));
      if (!spot) {
        text.remove();
        continue;
      }
      text.setAttribute("x", spot[0]);
      text.setAttribute("y", spot[1]);
      taken.push([spot[0], spot[1] - 11, spot[0] + wide, spot[1] + 3]);
      break;
    }
  }
}

const rank = (index) => (index === queryIndex ? 2 : index === chosen ? 1 : 0);

function choose(index) {
  chosen = index;
  const all = texts.length - (queryIndex < 0 ? 0 : 1);
  const name = index === queryIndex ? "query" : `${index + 1} of ${all}`;
  const lines = [element("b", {}, name), element("span", {}, shorten(texts[index], 160))];
  const nearest = rows[index].reduce(
    (best, value, other) => (other !== index && (best < 0 || value > rows[index][best]) ? other : best),
    -1,
  );
  if (nearest >= 0) {
    const other = nearest === queryIndex ? "the query" : `${nearest + 1} ${shorten(texts[nearest], 100)}`;
    lines.push(element("span", {}, `nearest, ${similarity(rows[index][nearest])}: ${other}`));
  }
  readout.replaceChildren(...lines);
  draw();
}

/** Points of all texts, the query last where `hasQuery` says that there is one. */
export function showMap(newTexts, hasQuery, plane, newRows) {
  texts = newTexts;
  queryIndex = hasQuery ? texts.length - 1 : -1;
  points = plane.points;
  rows = newRows;
  byId("map-card").hidden = false;
  byId("query-key").hidden = !hasQuery;
  byId("map-note").textContent =
    plane.share === null
      ? "There is one point only."
      : `The two principal components keep ${Math.round(plane.share * 100)} % of the differences; texts that look near here may be further apart.`;
  const what = hasQuery ? `${texts.length - 1} texts and the query` : `${texts.length} texts`;
  plot.setAttribute("aria-label", `Map of ${what} as points.`);
  choose(hasQuery ? queryIndex : 0);
}

function under(event) {
  const box = plot.getBoundingClientRect();
  const at = [event.clientX - box.left, event.clientY - box.top];
  const distances = places.map(([x, y]) => Math.hypot(x - at[0], y - at[1]));
  const nearest = distances.indexOf(Math.min(...distances));
  if (nearest >= 0 && distances[nearest] < 24 && nearest !== chosen) choose(nearest);
}

plot.addEventListener("pointermove", under);
plot.addEventListener("pointerdown", under);
plot.addEventListener("keydown", (event) => {
  const last = texts.length - 1;
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (step) choose((chosen + step + texts.length) % texts.length);
  else if (event.key === "Home") choose(0);
  else if (event.key === "End") choose(last);
  else return;
  event.preventDefault();
});
redrawn(plot, draw);
