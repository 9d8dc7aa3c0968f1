// What the page asks the server, and what went wrong in words.

const KEY = "akidb-api-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The server's own words, from any of the shapes that its interfaces answer errors in. */
function serverWords(body) {
  const error = body?.error ?? body?.message ?? "";
  return typeof error === "string" ? error : String(error?.message ?? "");
}

function words(status, said, retryAfter) {
  const with_ = (text) => (said ? `${text}: ${said}` : `${text}.`);
  if (status === 401 || status === 403) return "The server asks for a valid API key.";
  if (status === 404) return with_("The server doesn't know this");
  if (status === 408 || status === 504) return "The answer would have taken longer than the server allows.";
  if (status === 413) return with_("This is more than one request may hold");
  if (status === 429) {
    const when = retryAfter ? `in ${retryAfter} s` : "in a moment";
    return `The server has too much to do. Try again ${when}.`;
  }
  if (status === 503) return with_("The server can't take requests now");
  if (status >= 500) return with_("The server failed");
  return with_("The server can't use this request");
}

async function request(path, body) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new ApiError("The server doesn't answer. Is it still running?", 0);
  }
  if (!answer.ok) {
    const text = await answer.text().catch(() => "");
    let said = "";
    try {
      said = serverWords(JSON.parse(text));
    } catch {
      said = text.trim().slice(0, 300);
    }
    throw new ApiError(words(answer.status, said, answer.headers.get("retry-after")), answer.status);
  }
  return answer;
}

/** Vectors of texts: `{vectors, tokens, cut, provenance}`; `cut` lists the texts that were too long. */
export async function embed(texts, { model, query = false }) {
  const body = { input: texts, encoding_format: "float", truncate: true };
  if (model) body.model = model;
  if (query) body.input_type = "query";
  const answer = await (await request("v1/embeddings", body)).json();
  const data = [...answer.data].sort((a, b) => a.index - b.index);
  return {
    vectors: data.map((entry) => entry.embedding),
    tokens: answer.usage?.total_tokens ?? 0,
    cut: data.filter((entry) => entry.truncated).map((entry) => ({ index: entry.index, tokens: entry.tokens })),
    answer,
  };
}

/** How well documents answer a query: `{scores, tokens, cut, answer}`, scores in the order of the documents. */
export async function rerank(query, documents, { model }) {
  const body = { query, documents };
  if (model) body.model = model;
  const answer = await (await request("v1/rerank", body)).json();
  const results = [...answer.results].sort((a, b) => a.index - b.index);
  return {
    scores: results.map((result) => result.relevance_score),
    tokens: answer.usage.total_tokens,
    cut: results.filter((result) => result.truncated).map(({ index, tokens }) => ({ index, tokens })),
    answer,
  };
}

/** `{name, embeds}` of each model. */
export const models = async () => {
  const { data } = await (await request("v1/models")).json();
  return data.map(({ id, capabilities }) => ({ name: id, embeds: capabilities.embed }));
};
export const info = async () => (await request("info")).json();
export const metrics = async () => (await request("metrics")).text();
