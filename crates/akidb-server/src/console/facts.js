// What is known of the model and the server, from whoever told it: /info, an answer, the metrics.

import { byId, element } from "./dom.js";
import { bytes, count } from "./words.js";

const known = new Map();

const number = (value) => value.toLocaleString("en");
const tokens = (value) => count(value, "token");

/** Label, the places where it may stand, and how it is written. */
const ROWS = [
  ["Model", ["model", "model_id"]],
  ["Revision", ["provenance.revision", "model_sha"]],
  ["Weights", ["provenance.variant"]],
  ["Arithmetic", ["provenance.precision", "model_dtype"]],
  ["Backend", ["provenance.backend"]],
  ["Device", ["provenance.device"]],
  ["Pooling", ["provenance.pooling", "model_type.embedding.pooling"]],
  ["Dimension", ["dimension"], number],
  ["Ranks by", ["capabilities.scoring"], (how) => (how === "model" ? "reading query and document" : "cosine of vectors")],
  ["Longest text", ["max_input_length"], tokens],
  ["Texts in a request", ["max_client_batch_size"], number],
  ["Tokens in a batch", ["max_batch_tokens"], number],
  ["Why this backend", ["provenance.fallback"]],
  ["Models loaded", ["akidb_models_loaded"], number],
  ["Memory", ["akidb_resident_bytes"], bytes],
  ["Version", ["version"]],
];

function draw() {
  const shown = [];
  for (const [label, places, write = String] of ROWS) {
    const value = places.map((place) => known.get(place)).find((found) => found !== undefined);
    if (value === undefined) continue;
    shown.push(element("div", {}, element("dt", {}, label), element("dd", {}, write(value))));
  }
  byId("facts").replaceChildren(...shown);
}

/** Takes in every plain value of an object, nested ones by their path. */
export function learn(object, path = "") {
  for (const [name, value] of Object.entries(object ?? {})) {
    if (value === null || value === "") continue;
    if (typeof value === "object" && !Array.isArray(value)) learn(value, `${path}${name}.`);
    else known.set(path + name, value);
  }
  if (path === "") draw();
}

export const fact = (name) => known.get(name);
