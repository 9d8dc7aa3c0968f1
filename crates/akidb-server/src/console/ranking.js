// The texts in the order of their similarity to the query.

import { byId, element, svg } from "./dom.js";
import { similarity } from "./words.js";

const scroll = byId("rank-scroll");

/** Which of them can be seen, where not all can. */
function seen() {
  const entries = [...byId("rank").children];
  const box = scroll.getBoundingClientRect();
  const inside = (entry) => {
    const { top, bottom } = entry.getBoundingClientRect();
    return bottom > box.top + 8 && top < box.bottom - 8;
  };
  const first = entries.findIndex(inside);
  const last = entries.findLastIndex(inside);
  const all = first <= 0 && last === entries.length - 1;
  const range = first === last ? `${first + 1}` : `${first + 1}–${last + 1}`;
  byId("rank-seen").textContent = all || first < 0 ? "" : `${range} of ${entries.length}`;
}

function bar(value) {
  const share = Math.min(Math.max(value, 0), 1) * 100;
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 4, rx: 0.6 }),
    svg("rect", { class: "fill", width: share, height: 4, rx: 0.6 }),
  );
}

export function showRanking(texts, query, values) {
  const order = texts.map((_, index) => index).sort((a, b) => values[b] - values[a] || a - b);
  byId("rank-card").hidden = false;
  byId("rank-query").textContent = query ? `for “${query}”` : "Write a query to rank the texts.";
  scroll.hidden = !query;
  scroll.scrollTop = 0;
  byId("rank").replaceChildren(
    ...(query ? order : []).map((index) =>
      element(
        "li",
        {},
        element("span", { class: "words" }, texts[index]),
        element("span", { class: "value" }, similarity(values[index])),
        bar(values[index]),
      ),
    ),
  );
  seen();
}

scroll.addEventListener("scroll", seen, { passive: true });
new ResizeObserver(seen).observe(scroll);
