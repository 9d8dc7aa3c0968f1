// The page: reads the fields, asks the server, hands the answers to the pictures.

import * as api from "./api.js";
import { byId, element } from "./dom.js";
import { fact, learn } from "./facts.js";
import { showHeatMap } from "./heatmap.js";
import { start } from "./live.js";
import { showMap } from "./map.js";
import { total } from "./prometheus.js";
import { showRanking } from "./ranking.js";
import { cosine, planar, similarities } from "./vectors.js";
import { count, short, shorten } from "./words.js";

// More than this can't be read in a picture.
const MOST_TEXTS = 200;

const form = byId("compare");
const textsField = byId("texts");
const queryField = byId("query");
const modelField = byId("model");
const runButton = byId("run");
const summary = byId("summary");

// The names of models that rank and make no vectors.
const rerankers = new Set();

const lines = () => textsField.value.split("\n").map((line) => line.trim()).filter(Boolean);

function state(kind, text) {
  byId("state").className = `state ${kind}`;
  byId("state-text").textContent = text;
}

/** While an error stands, what is shown is of other texts. */
function fail(message) {
  byId("texts-error").textContent = message;
  byId("main").classList.toggle("stale", message !== "");
  summary.textContent = "";
}

function askForKey() {
  const form = byId("key-form");
  if (form.hidden && api.key.get()) byId("key-error").textContent = "The server doesn't take this key.";
  form.hidden = false;
}

function counted() {
  const n = lines().length;
  byId("count").textContent = n > MOST_TEXTS ? `${count(n, "text")}, at most ${MOST_TEXTS}` : count(n, "text");
}

/** Why the fields can't be sent, or an empty string. */
function objection(texts, ranks) {
  if (ranks && !queryField.value.trim()) return "Write a query: this model ranks texts, and makes no vectors.";
  if (texts.length === 0) return "Write at least one text, one a line.";
  if (texts.length > MOST_TEXTS) return `At most ${MOST_TEXTS} texts at a time; these are ${texts.length}.`;
  return "";
}

async function compare() {
  const texts = lines();
  const query = queryField.value.trim();
  const model = modelField.value || undefined;
  const ranks = rerankers.has(modelField.value);
  const wrong = objection(texts, ranks);
  textsField.setAttribute("aria-invalid", String(wrong !== ""));
  fail(wrong);
  if (wrong) {
    textsField.focus();
    return;
  }
  runButton.disabled = true;
  byId("main").classList.add("stale");
  summary.textContent = "Computing…";
  try {
    const started = performance.now();
    const [documents, asked] = ranks
      ? [await api.rerank(query, texts, { model })]
      : await Promise.all([
          api.embed(texts, { model }),
          query ? api.embed([query], { model, query: true }) : null,
        ]);
    const elapsed = performance.now() - started;
    fail("");
    if (ranks) showScores(texts, query, documents);
    else show(texts, query, documents, asked);
    const total = documents.tokens + (asked?.tokens ?? 0);
    summary.textContent = `${count(texts.length, "text")}, ${count(total, "token")}, ${short(elapsed)} ms`;
    byId("key-form").hidden = true;
  } catch (error) {
    if (error.status === 401) askForKey();
    fail(error.message);
  } finally {
    runButton.disabled = false;
  }
}

function show(texts, query, documents, asked) {
  byId("empty").hidden = true;
  showHeatMap(texts, similarities(documents.vectors));
  const [queryVector] = asked?.vectors ?? [];
  showRanking(texts, query, queryVector ? documents.vectors.map((vector) => cosine(queryVector, vector)) : []);
  const vectors = queryVector ? [...documents.vectors, queryVector] : documents.vectors;
  showMap(queryVector ? [...texts, query] : texts, Boolean(queryVector), planar(vectors), similarities(vectors));

  const cut = cutTexts(texts, documents);
  if (asked?.cut.length > 0) cut.push(element("li", {}, `The query was cut at ${count(asked.cut[0].tokens, "token")}.`));
  showCut(cut);
  const { model, provenance } = documents.answer;
  learn({ model, dimension: documents.vectors[0].length, provenance });
}

/** What a reranker says; there is nothing to draw a map of. */
function showScores(texts, query, documents) {
  byId("empty").hidden = byId("heat-card").hidden = byId("map-card").hidden = true;
  showRanking(texts, query, documents.scores);
  showCut(cutTexts(texts, documents));
  const { model, provenance } = documents.answer;
  learn({ model, provenance });
}

const cutTexts = (texts, documents) =>
  documents.cut.map(({ index, tokens }) =>
    element("li", {}, `Text ${index + 1} was cut at ${count(tokens, "token")}: ${shorten(texts[index], 40)}`),
  );

function showCut(cut) {
  byId("cut").replaceChildren(...cut);
  byId("cut").hidden = cut.length === 0;
}

async function introduce() {
  try {
    const models = await api.models();
    const names = models.map((model) => model.name);
    rerankers.clear();
    for (const model of models) if (!model.embeds) rerankers.add(model.name);
    modelField.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    byId("model-row").hidden = names.length < 2;
    state("good", names[0] ?? "ready");
    learn({ model_id: names[0] });
    learn(await api.info());
    if (names.length < 2) state("good", fact("model_id") ?? "ready");
    byId("key-form").hidden = true;
  } catch (error) {
    if (error.status === 401) {
      state("bad", "needs an API key");
      askForKey();
    } else if (error.status === 0) state("bad", "no answer");
    else state("good", "ready");
  }
  byId("forget").hidden = !api.key.get();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!runButton.disabled) compare();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
textsField.addEventListener("input", () => {
  counted();
  textsField.removeAttribute("aria-invalid");
});
byId("clear").addEventListener("click", () => {
  textsField.value = queryField.value = "";
  fail("");
  counted();
  textsField.focus();
});
byId("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("key-error").textContent = "";
  api.key.set(byId("key").value.trim());
  byId("key").value = "";
  byId("key-form").hidden = true;
  await introduce();
  readMetrics();
  sample();
  (byId("key-form").hidden ? runButton : byId("key")).focus();
});
byId("forget").addEventListener("click", () => {
  api.key.forget();
  introduce();
});

/** Shows at once what the page does, by the texts that stand there; without a key it can't. */
function sample() {
  if (byId("key-form").hidden && !byId("empty").hidden && !runButton.disabled && lines().length > 0) compare();
}

counted();
introduce().then(sample);
let reachable = true;
const readMetrics = start(
  (samples) => {
    const names = ["akidb_models_loaded", "akidb_resident_bytes"];
    learn(Object.fromEntries(names.map((name) => [name, total(samples, name)])));
    if (!reachable) introduce();
    reachable = true;
  },
  (error) => {
    if (error.status !== 0) return;
    reachable = false;
    state("bad", "no answer");
  },
);
