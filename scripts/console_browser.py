"""Drives the server's console in a real Chromium: by mouse, by keyboard, light and dark, on a phone.

usage: console_browser.py AKIDB_EMBED [--screenshots DIR]

Starts `AKIDB_EMBED serve` with the built-in model and checks that the numbers on the page are the
API's, that nothing is asked from elsewhere, and that errors are shown in words. Needs the Python
packages playwright and numpy, and a Chromium (CHROMIUM names one that isn't in PATH).
"""

import argparse
import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy
from playwright.sync_api import Page, expect, sync_playwright

from serving import Serving

KEY = "sk-console-test-0123456789"
TEXTS = [
    "how do I resume a download",
    "continue an interrupted transfer",
    "bake a chocolate cake",
    "a recipe for brownies",
    "which trains go to the coast",
]
QUERY = "sweet things from the oven"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


class Server(Serving):
    def __init__(self, program, *arguments):
        super().__init__(program, "--model", "akidb-mini", *arguments)

    def get(self, path, headers={}):
        try:
            return urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers))
        except urllib.error.HTTPError as error:
            return error

    def vectors(self, texts, **more):
        body = json.dumps({"input": texts, **more}).encode()
        request = urllib.request.Request(
            self.url + "v1/embeddings", body, {"content-type": "application/json"}
        )
        data = json.load(urllib.request.urlopen(request))["data"]
        vectors = numpy.array([entry["embedding"] for entry in data], dtype=numpy.float64)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def number(text):
    return float(text.replace("−", "-"))


class Watched:
    """A page whose console errors and requests are kept."""

    def __init__(self, page: Page, url):
        self.page, self.url = page, url
        self.errors, self.elsewhere = [], []
        page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self.requested)

    def requested(self, request):
        if not request.url.startswith((self.url, "data:")):
            self.elsewhere.append(request.url)

    def quiet(self, allow=()):
        errors = [e for e in self.errors if not any(a in e for a in allow)]
        assert not errors, errors
        assert not self.elsewhere, self.elsewhere
        self.errors.clear()


@contextmanager
def opened(browser, server, scheme="light", viewport=DESKTOP, allow=()):
    context = browser.new_context(
        color_scheme=scheme,
        viewport=viewport,
        device_scale_factor=2,
        has_touch=viewport is PHONE,
        is_mobile=viewport is PHONE,
    )
    watched = Watched(context.new_page(), server.url)
    watched.page.goto(server.url)
    yield watched.page
    watched.quiet(allow)
    context.close()


def fill(page, texts=TEXTS, query=QUERY):
    page.fill("#texts", "\n".join(texts))
    page.fill("#query", query)


def compared(page, texts=5):
    expect(page.locator("#summary")).to_have_text(
        re.compile(f"^{texts} texts?, .* ms"), timeout=60_000
    )


def sampled(page):
    """The texts that stand there at the start have been compared."""
    compared(page, 7)


def fits(page):
    """Nothing sticks out of the page or out of its card, to the right."""
    wide = page.evaluate(
        """() => {
          const right = e => e.getBoundingClientRect().right;
          const edge = card => right(card) - parseFloat(getComputedStyle(card).paddingRight);
          return [...document.querySelectorAll('.card *:not(.sr)')]
            .filter(e => e.checkVisibility() && !e.parentElement.closest('.scroll'))
            .filter(e => right(e) > edge(e.closest('.card')) + 1)
            .map(e => e.id || e.className || e.tagName); }"""
    )
    assert not wide, wide
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def columns_end_together(page):
    """Where there are two columns, neither leaves a hole."""
    boxes = [column.bounding_box() for column in page.locator(".column").all()]
    if boxes[0]["y"] != boxes[1]["y"]:
        return
    last = page.evaluate(
        """() => [...document.querySelectorAll('.column')].map(column =>
          Math.max(...[...column.children].filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().bottom)))"""
    )
    assert abs(last[0] - last[1]) < 2, last


def labels_apart(page):
    """No label of the map lies over another one or over a point."""
    crossed = page.evaluate(
        """() => {
          const boxes = [...document.querySelectorAll('#map text, #map .point')].map(e => [e, e.getBoundingClientRect()]);
          const over = (a, b) => a.left < b.right - 2 && b.left < a.right - 2 && a.top < b.bottom - 4 && b.top < a.bottom - 4;
          return boxes.flatMap(([e, a], i) => e.tagName !== 'text' ? [] : boxes
            .filter(([, b], j) => i !== j && over(a, b)).map(([other]) => [e.textContent, other.textContent || other.className.baseVal])); }"""
    )
    assert not crossed, crossed


def contrast(page):
    """Every text reaches WCAG AA's 4.5 to 1 on the ground that it stands on."""
    low = page.evaluate(
        """() => {
          const parts = c => c.match(/[\\d.]+/g).map(Number);
          const lum = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
            return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
            return .2126 * r + .7152 * g + .0722 * b; };
          const ground = e => { for (; e; e = e.parentElement) {
            const c = parts(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; }
            return [255, 255, 255]; };
          const low = [];
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walk.nextNode()) {
            const e = walk.currentNode.parentElement;
            if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('.sr,.skip')) continue;
            const style = getComputedStyle(e);
            const ink = parts(e.closest('svg') ? style.fill : style.color);
            const [a, b] = [lum(ink), lum(ground(e))].sort((x, y) => x - y);
            if ((b + .05) / (a + .05) < 4.5) low.push([e.id || e.className || e.tagName, (b + .05) / (a + .05)]);
          }
          return low; }"""
    )
    assert not low, low


def numbers_are_the_apis(page, server, texts=TEXTS, query=QUERY):
    vectors = server.vectors(texts)
    queries = server.vectors([query], input_type="query")
    cosines = vectors @ vectors.T

    page.click("#heat-details summary")
    rows = page.locator("#heat-table tbody tr")
    expect(rows).to_have_count(len(texts))
    for row, wanted in zip(rows.all(), cosines):
        shown = [number(cell) for cell in row.locator("td").all_text_contents()]
        assert numpy.abs(numpy.array(shown) - wanted).max() <= 0.00051, (shown, wanted)
    page.click("#heat-details summary")

    scores = vectors @ queries[0]
    order = sorted(range(len(texts)), key=lambda i: -scores[i])
    assert page.locator("#rank .words").all_text_contents() == [texts[i] for i in order]
    shown = [number(v) for v in page.locator("#rank .value").all_text_contents()]
    assert numpy.abs(numpy.array(shown) - scores[order]).max() <= 0.00051, shown

    # Distances in the picture are those between the first two principal components.
    everything = numpy.vstack([vectors, queries])
    centred = everything - everything.mean(axis=0)
    u, s, _ = numpy.linalg.svd(centred, full_matrices=False)
    plane = (u * s)[:, :2]
    places = page.evaluate(
        """() => [...document.querySelectorAll('#map .point')].map(p => {
          const b = p.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })"""
    )
    apart = lambda points: numpy.linalg.norm(points[:, None] - points[None], axis=2)
    drawn, wanted = apart(numpy.array(places)), apart(plane)
    assert numpy.abs(drawn / drawn.max() - wanted / wanted.max()).max() < 0.01
    share = round(100 * (s[:2] ** 2).sum() / (s**2).sum())
    expect(page.locator("#map-note")).to_contain_text(f"keep {share} %")


def by_mouse(browser, server, scheme, viewport, picture):
    with opened(browser, server, scheme, viewport) as page:
        expect(page.locator("#state-text")).to_have_text("akidb-mini")
        fits(page)
        sampled(page)
        contrast(page)
        columns_end_together(page)
        picture(page, f"start-{scheme}-{viewport['width']}")
        fill(page)
        expect(page.locator("#count")).to_have_text("5 texts")
        (page.tap if viewport is PHONE else page.click)("#run")
        compared(page)
        numbers_are_the_apis(page, server)
        fits(page)
        contrast(page)
        columns_end_together(page)

        # The cell of texts 3 and 1, by its place in the picture.
        box = page.locator("#heat canvas").bounding_box()
        high = (box["height"] - 22) / len(TEXTS)
        left = 26 if box["width"] < 460 else min(250, round(box["width"] * 0.34))
        page.locator("#heat canvas").hover(position={"x": left + 8, "y": 22 + 2.5 * high})
        value = server.vectors(TEXTS)[2] @ server.vectors(TEXTS)[0]
        expect(page.locator("#heat-readout")).to_contain_text(TEXTS[2])
        expect(page.locator("#heat-readout")).to_contain_text(TEXTS[0])
        assert abs(number(page.text_content("#heat-readout b")) - value) <= 0.00051

        point = page.locator("#map circle.point").nth(3)
        point.hover(force=True)
        expect(page.locator("#map-readout")).to_contain_text(TEXTS[3])
        picture(page, f"compared-{scheme}-{viewport['width']}")


def by_keyboard(browser, server):
    with opened(browser, server) as page:
        press = page.keyboard.press
        at = lambda: page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.tagName")
        seen = lambda: page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })()"
        )
        sampled(page)
        press("Tab")
        assert at() == "skip" and seen()
        press("Tab")
        assert at() == "texts" and seen(), at()
        press("Control+a")
        page.keyboard.insert_text("\n".join(TEXTS))
        press("Tab")
        assert at() == "query" and seen(), at()
        press("Control+a")
        page.keyboard.type(QUERY)
        press("Control+Enter")
        compared(page)
        order = []
        while at() != "BODY" and len(order) < 20:
            order.append(at())
            assert seen(), f"the focus on {at()} can't be seen"
            press("Tab")
        assert order == ["query", "run", "clear", "rank-scroll", "heat", "SUMMARY", "map", "api"], order

        page.focus("#heat")
        for _ in range(5):
            press("ArrowUp")
        press("Home")
        expect(page.locator("#heat-readout b")).to_have_text("1.000")
        press("ArrowDown")
        press("ArrowDown")
        press("ArrowRight")
        readout = page.locator("#heat-readout")
        expect(readout).to_contain_text(f"3 of 5: {TEXTS[2]}")
        expect(readout).to_contain_text(f"2 of 5: {TEXTS[1]}")
        press("End")
        expect(readout).to_contain_text(f"5 of 5: {TEXTS[4]}")

        page.focus("#map")
        press("Home")
        expect(page.locator("#map-readout")).to_contain_text(TEXTS[0])
        press("ArrowRight")
        expect(page.locator("#map-readout")).to_contain_text(TEXTS[1])
        press("End")
        expect(page.locator("#map-readout b")).to_have_text("query")

        page.focus("#heat-details summary")
        press("Enter")
        expect(page.locator("#heat-table tbody tr")).to_have_count(5)
        press("Tab")
        assert at() == "heat-table" and seen(), at()
        page.focus("#clear")
        press("Enter")
        assert at() == "texts"


def odd_inputs(browser, server, picture):
    with opened(browser, server, viewport=PHONE) as page:
        error = page.locator("#texts-error")
        dim = lambda: page.evaluate("getComputedStyle(document.getElementById('heat-card')).opacity") < "0.9"
        sampled(page)
        assert not dim()
        fill(page, ["", "   "], "")
        page.click("#run")
        expect(error).to_have_text("Write at least one text, one a line.")
        assert page.evaluate("document.activeElement.id") == "texts"
        assert page.get_attribute("#texts", "aria-invalid") == "true"
        page.wait_for_timeout(300)
        assert dim(), "the results of other texts look as if they were of these"

        fill(page, ["one alone"], "")
        page.click("#run")
        compared(page, 1)
        page.wait_for_timeout(300)
        assert not dim()
        expect(error).to_be_empty()
        expect(page.locator("#heat-readout b")).to_have_text("1.000")
        expect(page.locator("#rank-query")).to_have_text("Write a query to rank the texts.")
        expect(page.locator("#map-note")).to_have_text("There is one point only.")

        fill(page, ["the same", "the same", "the same"], "the same")
        page.click("#run")
        expect(page.locator("#summary")).to_contain_text("3 texts")
        assert number(page.locator("#rank .value").first.text_content()) > 0.5

        fill(page, [f"text number {i}" for i in range(201)], "")
        expect(page.locator("#count")).to_have_text("201 texts, at most 200")
        page.click("#run")
        expect(error).to_have_text("At most 200 texts at a time; these are 201.")

        hostile = ["<img src=x onerror=alert(1)>", "x" * 300, "مرحبا بالعالم", "👩‍👩‍👧‍👦" * 90, "\u202eright to left", "你好" * 200]
        fill(page, hostile, "<b>bold</b>")
        page.click("#run")
        expect(page.locator("#summary")).to_contain_text("6 texts", timeout=60_000)
        fits(page)
        assert page.locator("#rank img, #heat-readout img, #rank-query b").count() == 0
        numbers_are_the_apis(page, server, hostile, "<b>bold</b>")
        picture(page, "hostile-360")

        fill(page, ["word " * 30_000, "short"], "")
        page.click("#run")
        expect(page.locator("#summary")).to_contain_text("2 texts", timeout=60_000)
        expect(page.locator("#cut")).to_have_text(re.compile("^Text 1 was cut at 2,048 tokens: word word"))
        fits(page)


def many(browser, server, scheme, viewport, picture):
    subjects = ["a train", "a cake", "a download", "the weather", "a guitar", "an engine", "a letter", "the sea"]
    verbs = ["finds", "follows", "breaks", "likes", "repairs"]
    texts = [f"{s} {v} {o}" for s in subjects for v in verbs for o in subjects[:5]]
    assert len(texts) == 200
    with opened(browser, server, scheme, viewport) as page:
        fill(page, texts, "music")
        page.click("#run")
        expect(page.locator("#summary")).to_contain_text("200 texts", timeout=60_000)
        numbers_are_the_apis(page, server, texts, "music")
        fits(page)
        picture(page, f"many-{scheme}-{viewport['width']}")


def forty(browser, server, scheme, viewport, picture):
    subjects = ["a train", "a cake", "a download", "the weather", "a guitar", "an engine", "a letter", "the sea"]
    rest = ["finds the road", "follows the recipe", "breaks the file", "likes the sound", "repairs the harbour"]
    texts = [f"{subject} {words}" for subject in subjects for words in rest]
    with opened(browser, server, scheme, viewport) as page:
        fill(page, texts, "something by the water")
        page.click("#run")
        compared(page, 40)
        numbers_are_the_apis(page, server, texts, "something by the water")
        fits(page)
        columns_end_together(page)
        labels_apart(page)
        expect(page.locator("#rank-seen")).to_have_text(re.compile(r"^1–\d+ of 40$"))
        page.evaluate("document.getElementById('rank-scroll').scrollTop = 1e6")
        expect(page.locator("#rank-seen")).to_have_text(re.compile(r"^\d+–40 of 40$"))
        page.evaluate("document.getElementById('rank-scroll').scrollTop = 0")
        picture(page, f"forty-{scheme}-{viewport['width']}")


def errors_in_words(browser, server):
    answers = [
        (429, {"retry-after": "7"}, {"error": {"message": "full"}}, "The server has too much to do. Try again in 7 s."),
        (413, {}, {"error": {"message": "5 MB"}}, "This is more than one request may hold: 5 MB"),
        (422, {}, {"error": "no such width", "error_type": "Validation"}, "The server can't use this request: no such width"),
        (500, {}, {}, "The server failed."),
        (503, {}, {"error": {"message": "the server is stopping"}}, "The server can't take requests now: the server is stopping"),
        (502, {}, "<html>bad gateway</html>", "The server failed: <html>bad gateway</html>"),
    ]
    with opened(browser, server, allow=["Failed to load resource"]) as page:
        sampled(page)
        fill(page)
        for status, headers, body, words in answers:
            text = body if isinstance(body, str) else json.dumps(body)
            page.route("**/v1/embeddings", lambda route: route.fulfill(status=status, headers=headers, body=text))
            page.click("#run")
            expect(page.locator("#texts-error")).to_have_text(words)
            expect(page.locator("#run")).to_be_enabled()
            assert "stale" in page.get_attribute("#main", "class")
            page.unroute("**/v1/embeddings")
        page.click("#run")
        compared(page)
        expect(page.locator("#texts-error")).to_be_empty()


def curves_move(browser, server, picture):
    with opened(browser, server) as page:
        expect(page.locator("#facts")).to_contain_text("akidb-mini")
        fill(page)
        for _ in range(6):
            page.click("#run")
            compared(page)
            page.wait_for_timeout(700)
        expect(page.locator("#curve-throughput .now")).to_have_text(re.compile(r"\d.* tokens/s"), timeout=10_000)
        assert float(page.text_content("#curve-throughput .span span:nth-child(2)").replace("highest ", "").replace(",", "")) > 0
        assert re.search(r"highest \d", page.get_attribute("#curve-latency .curve", "aria-label"))
        expect(page.locator("#live-note")).to_be_empty()
        for name in ["Model", "Dimension", "Longest text", "Backend", "Pooling", "Ranks by"]:
            expect(page.locator("#facts")).to_contain_text(name)
        picture(page, "curves-light-1280")


def asks_for_a_key(browser, program, picture):
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
        keys.write(f"console:{KEY}\n")
        keys.flush()
        server = Server(program, "--api-keys", keys.name)
        try:
            with opened(browser, server, allow=["401"]) as page:
                form = page.locator("#key-form")
                expect(form).to_be_visible()
                expect(page.locator("#state-text")).to_have_text("needs an API key")
                picture(page, "key-light-1280")
                page.fill("#key", "wrong")
                page.keyboard.press("Enter")
                expect(page.locator("#key-error")).to_have_text("The server doesn't take this key.")
                page.fill("#key", KEY)
                page.keyboard.press("Enter")
                expect(form).to_be_hidden()
                expect(page.locator("#state-text")).to_have_text("akidb-mini")
                sampled(page)
                assert page.evaluate("localStorage.length") == 0
                page.reload()
                expect(page.locator("#state-text")).to_have_text("akidb-mini")
                page.click("#forget")
                expect(form).to_be_visible()
        finally:
            server.stop()


def goes_away(browser, program):
    server = Server(program)
    with opened(browser, server, allow=["Failed to load resource", "ERR_CONNECTION"]) as page:
        expect(page.locator("#state-text")).to_have_text("akidb-mini")
        sampled(page)
        server.stop()
        page.click("#run")
        expect(page.locator("#texts-error")).to_have_text("The server doesn't answer. Is it still running?")
        expect(page.locator("#state-text")).to_have_text("no answer", timeout=10_000)


def ranks_by_a_reranker(browser, program, picture):
    path = Path(__file__).parent.parent / "crates/akidb-testing/fixtures/tiny-rerankers/qwen3-seq"
    server = Server(program, "--model", f"reranker={path}")
    try:
        body = json.dumps({"model": "reranker", "query": QUERY, "documents": TEXTS}).encode()
        request = urllib.request.Request(server.url + "v1/rerank", body, {"content-type": "application/json"})
        expected = [TEXTS[found["index"]] for found in json.load(urllib.request.urlopen(request))["results"]]
        with opened(browser, server) as page:
            sampled(page)
            page.select_option("#model", "reranker")
            fill(page)
            page.click("#run")
            compared(page)
            assert page.locator("#rank .words").all_inner_texts() == expected
            for card in ["#heat-card", "#map-card"]:
                expect(page.locator(card)).to_be_hidden()
            picture(page, "reranker-light-1280")
            fill(page, query="")
            page.click("#run")
            expect(page.locator("#texts-error")).to_contain_text("Write a query")
            page.select_option("#model", "akidb-mini")
            page.click("#run")
            compared(page)
            expect(page.locator("#heat-card")).to_be_visible()
    finally:
        server.stop()


def headers(server):
    for path in ["", "console/page.js", "console/page.css"]:
        answer = server.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy, policy
        again = server.get(path, {"if-none-match": answer.headers["etag"]})
        assert again.status == 304 and again.read() == b"", again.status
    assert server.get("console/nothing.js").status == 404


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the akidb-embed binary")
    parser.add_argument("--screenshots", type=Path, help="where to put pictures of the page")
    arguments = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("SKIPPED: the console in a browser (no Chromium)")
        return

    def picture(page, name):
        if arguments.screenshots:
            arguments.screenshots.mkdir(parents=True, exist_ok=True)
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=arguments.screenshots / f"{name}.png", full_page=True)

    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers don't give.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        server = Server(arguments.program)
        try:
            headers(server)
            for scheme in ["light", "dark"]:
                for viewport in [DESKTOP, PHONE]:
                    by_mouse(browser, server, scheme, viewport, picture)
            by_keyboard(browser, server)
            odd_inputs(browser, server, picture)
            for scheme in ["light", "dark"]:
                for viewport in [DESKTOP, PHONE]:
                    forty(browser, server, scheme, viewport, picture)
            many(browser, server, "light", DESKTOP, picture)
            many(browser, server, "dark", PHONE, picture)
            errors_in_words(browser, server)
            curves_move(browser, server, picture)
        finally:
            server.stop()
        asks_for_a_key(browser, arguments.program, picture)
        ranks_by_a_reranker(browser, arguments.program, picture)
        goes_away(browser, arguments.program)
        browser.close()
    print("the console works in", chromium)


if __name__ == "__main__":
    main()
