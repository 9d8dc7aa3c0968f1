// Vectors by way of the AI SDK, as JSON: node ai_sdk_client.mjs URL MODEL, texts as a JSON list on stdin.
// Needs the packages ai and @ai-sdk/openai-compatible in a node_modules that is found from the working
// directory.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { text } from "node:stream/consumers";

const require = createRequire(`${process.cwd()}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { embed, embedMany } = await load("ai");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");

const [url, name] = process.argv.slice(2);
const texts = JSON.parse(await text(process.stdin));
const model = createOpenAICompatible({ name: "akidb", baseURL: `${url}/v1` }).embeddingModel(name);
const many = await embedMany({ model, values: texts });
const one = await embed({ model, value: texts[0] });
const narrow = await embedMany({ model, values: texts, providerOptions: { akidb: { dimensions: 64 } } });
const refused = await embed({ model, value: "word ".repeat(3000), maxRetries: 0 }).then(
  () => null,
  (error) => ({ status: error.statusCode, message: error.message }),
);
console.log(
  JSON.stringify({
    many: many.embeddings,
    one: one.embedding,
    narrow: narrow.embeddings,
    tokens: many.usage.tokens,
    refused,
  }),
);
