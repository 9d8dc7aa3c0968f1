// The texts in the order of their similarity to the query.

import { byId, element, svg } from "./dom.js";
import { similarity } from "./words.js";

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
  byId("rank-scroll").hidden = !query;
  byId("rank-scroll").scrollTop = 0;
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
}
