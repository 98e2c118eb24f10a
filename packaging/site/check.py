"""Looks at the site as its readers do: every page at the width of a phone and of a desk, every link, the search.

    check.py FOLDER

Prints a line for each thing that is wrong, and last "N passed, N failed": a page at a width, the links of a page, and a search each
count as one. Ends with 1 if anything was wrong, with 0 else.
"""
import functools
import http.server
import os
import shutil
import sys
import threading
from urllib.parse import unquote, urldefrag, urljoin, urlparse

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": 390, "desk": 1280}
SEARCHES = {"SE001": "errors", "es_append": "reference", "tombstone": "keeping"}
folder = os.path.abspath(sys.argv[1])
wrong = []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/"


def pages():
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            if name.endswith(".html") and name != "404.html":
                yield os.path.relpath(os.path.join(root, name), folder)


def look(tab, base, page, width_name):
    """Open a page; returns what it links to, and the names in it that can be linked to."""
    tab.set_viewport_size({"width": WIDTHS[width_name], "height": 900})
    answer = tab.goto(base + page, wait_until="load")
    if answer is None or answer.status != 200:
        wrong.append(f"{page}: cannot be opened")
    wide = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wide > 0:
        wrong.append(f"{page}: {wide} pixels wider than a {width_name}")
    for source in tab.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth === 0).map(i => i.src)"):
        wrong.append(f"{page}: no picture {source}")
    links = tab.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
    names = tab.evaluate("[...document.querySelectorAll('[id], a[name]')].map(e => e.id || e.name)")
    return links, set(names)


def check_links(base, seen):
    count = 0
    for page, (links, _) in seen.items():
        for link in set(links):
            whole, fragment = urldefrag(urljoin(base + page, link))
            if not whole.startswith(base):
                continue  # somebody else's
            count += 1
            path = unquote(urlparse(whole).path).lstrip("/") or "index.html"
            if not os.path.isfile(os.path.join(folder, path)):
                wrong.append(f"{page}: leads to {path}, which is not there")
            elif fragment and path in seen and unquote(fragment) not in seen[path][1] and not fragment.startswith("__"):
                wrong.append(f"{page}: leads to {path}#{fragment}, which is not there")
    return count


def check_search(tab, base):
    tab.set_viewport_size({"width": WIDTHS["desk"], "height": 900})
    for word, expected in SEARCHES.items():
        tab.goto(base + "index.html", wait_until="load")
        tab.click("label.md-search__icon[for=__search]") if not tab.is_visible("input.md-search__input") else None
        tab.fill("input.md-search__input", word)
        try:
            tab.wait_for_selector(f".md-search-result__item a[href*='{expected}']", state="attached", timeout=60000)
        except Exception:  # whatever the browser calls it
            wrong.append(f"search: \"{word}\" does not find the page \"{expected}\"")


def main():
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    base = serve()
    seen = {}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.on("pageerror", lambda error: wrong.append(f"{tab.url}: {error}"))
        tab.on("request", lambda r: None if r.url.startswith((base, "data:", "blob:")) else wrong.append(f"{tab.url}: fetches {r.url} from elsewhere"))
        for page in pages():
            for width_name in WIDTHS:
                seen[page] = look(tab, base, page, width_name)
        links = check_links(base, seen)
        check_search(tab, base)
        browser.close()
    for line in wrong:
        print(line)
    print(f"{len(seen)} pages at {len(WIDTHS)} widths, {links} links, {len(SEARCHES)} searches")
    all_checks = len(seen) * (len(WIDTHS) + 1) + len(SEARCHES)
    print(f"{max(all_checks - len(wrong), 0)} passed, {len(wrong)} failed")
    sys.exit(1 if wrong or not seen else 0)


main()
