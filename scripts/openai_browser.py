#!/usr/bin/env python3
"""OpenAI's JavaScript SDK in a real Chromium, on a page of another origin.

usage: openai_browser.py AKIDB_EMBED NODE_MODULES

NODE_MODULES has the npm package openai. Starts `AKIDB_EMBED serve` with the built-in model and API keys,
and a page on an origin of its own, and checks that the SDK, with all the headers that it adds, gets the
vectors that a plain request gets, that its errors have the API's status and words, and that a page of an
origin that isn't listed gets nothing. Needs the Python packages playwright and numpy, and a Chromium
(CHROMIUM names one that isn't in PATH).
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import tempfile
import threading
import urllib.request
from pathlib import Path

import numpy
from playwright.sync_api import sync_playwright

from serving import Serving

KEY = "sk-browser-test-0123456789"
TEXTS = ["how do I resume a download", "wörld 🌍"]
PAGE = b"<!doctype html><title>a page of somebody</title>"

# Runs in the page: what each call gives, or how it fails.
CALLS = """
async ([baseURL, key, texts]) => {
  const { default: OpenAI } = await import("/openai/index.mjs");
  const client = (apiKey) => new OpenAI({ baseURL, apiKey, dangerouslyAllowBrowser: true, maxRetries: 0 });
  const told = async (call) => {
    try { return { ok: await call() }; }
    catch (error) { return { error: error.constructor.name, status: error.status ?? null, message: error.message }; }
  };
  const embed = (apiKey, more) => told(() =>
    client(apiKey).embeddings.create({ model: "akidb-mini", input: texts, ...more }));
  return {
    plain: await embed(key, {}),
    floats: await embed(key, { encoding_format: "float" }),
    narrow: await embed(key, { dimensions: 64 }),
    models: await told(async () => (await client(key).models.list()).data.map((model) => model.id)),
    wrong_key: await embed("sk-wrong", {}),
    too_long: await embed(key, { input: "word ".repeat(3000) }),
    unknown: await embed(key, { model: "gpt-nope" }),
  };
}
"""


class Pages(http.server.SimpleHTTPRequestHandler):
    """One empty page, and the packages of node_modules."""

    def do_GET(self):
        if self.path == "/":
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


Pages.extensions_map = {**Pages.extensions_map, ".mjs": "text/javascript"}


def pages(node_modules):
    handler = functools.partial(Pages, directory=node_modules)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def plain_request(url, body):
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{url}v1/embeddings", json.dumps(body).encode(), headers)
    data = json.load(urllib.request.urlopen(request))["data"]
    return numpy.array([entry["embedding"] for entry in data], dtype=numpy.float32)


def check(what, holds, seen):
    print(f"{'ok   ' if holds else 'WRONG'} {what}{'' if holds else f': {seen}'}")
    return holds


def vectors(answer):
    return numpy.array([entry["embedding"] for entry in answer["ok"]["data"]], dtype=numpy.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("node_modules")
    arguments = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    listed, other = pages(arguments.node_modules), pages(arguments.node_modules)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        keys = Path(directory) / "keys"
        keys.write_text(f"browser:{KEY}\n")
        keys.chmod(0o600)
        flags = ("--model", "akidb-mini", "--api-keys", str(keys), "--cors-origins", listed)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with Serving(arguments.program, *flags) as server:
            expected = plain_request(server.url, {"model": "akidb-mini", "input": TEXTS})

            def ask(origin):
                page = browser.new_page()
                page.goto(origin)
                return page.evaluate(CALLS, [f"{server.url}v1", KEY, TEXTS])

            seen = ask(listed)
            holds = [
                check(
                    "the SDK's vectors are the API's",
                    numpy.array_equal(vectors(seen["plain"]), expected),
                    seen["plain"],
                )
            ]
            holds.append(check("as floats", numpy.array_equal(vectors(seen["floats"]), expected), seen["floats"]))
            holds.append(check("in 64 dimensions", vectors(seen["narrow"]).shape == (2, 64), seen["narrow"]))
            holds.append(check("its list of models", "akidb-mini" in seen["models"].get("ok", []), seen["models"]))
            for name, status, kind in [
                ("wrong_key", 401, "AuthenticationError"),
                ("too_long", 400, "BadRequestError"),
                ("unknown", 404, "NotFoundError"),
            ]:
                answer = seen[name]
                right = (answer.get("status"), answer.get("error")) == (status, kind)
                holds.append(check(f"{name}: {kind}, {answer.get('message')}", right, answer))
            for name, answer in ask(other).items():
                right = answer.get("error") == "APIConnectionError"
                holds.append(check(f"from an origin that isn't listed, {name}: nothing", right, answer))
        browser.close()
    raise SystemExit(0 if all(holds) else 1)


if __name__ == "__main__":
    main()
