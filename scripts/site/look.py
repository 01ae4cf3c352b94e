"""Opens every page of the site in headless Chromium: ``python scripts/site/look.py [--pictures FOLDER]``.

After ``make docs``; needs chromium, chromedriver and the extra dev. Follows every link from the first page,
in two widths, by day and by night. Fails where a link or an anchor leads nowhere, a page is wider than the
screen, a picture or a film is missing, the browser reports an error, or no three links lead to a command.
"""

import argparse
import base64
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

from selenium import webdriver

ROOT = Path(__file__).parents[2]
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
MOST_LINKS = 3  # from the first page to a command
TALLEST = 6_000  # pixels of a picture
LINKS = """
const links = document.querySelectorAll('.md-content a[href], .md-nav a[href], .md-tabs a[href]');
return [...links].map(one => one.href);
"""
ANCHORS = "return [...document.querySelectorAll('[id], a[name]')].map(one => one.id || one.name)"
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
MISSING = """
const pictures = [...document.images].filter(one => one.complete && !one.naturalWidth);
const films = [...document.querySelectorAll('video')].filter(one => one.error || one.networkState === 3);
return [...pictures.map(one => one.src), ...films.map(one => one.poster)];
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine for as long as it is looked at."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def browsing() -> Iterator[Any]:
    """Open a browser without a window."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def show(browser: Any, url: str, width: int, scheme: str) -> None:
    """Load a page as one sees it who has not chosen between day and night."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(url)
    if browser.execute_script("return document.body.dataset.mdColorScheme === 'slate'") != (scheme == "dark"):
        browser.execute_script("localStorage.clear()")
        browser.get(url)


def follow(browser: Any, start: str) -> tuple[dict[str, int], list[str]]:
    """Return how many links each page is from the start, and what leads nowhere."""
    distance, waiting, found = {f"{start}index.html": 0}, [f"{start}index.html"], []
    anchors: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}  # address with anchor -> pages with a link to it
    while waiting:
        page = waiting.pop(0)
        show(browser, page, WIDTHS[-1], SCHEMES[0])
        if browser.title.startswith("Error response"):
            found.append(f"{page} does not exist")
            continue
        anchors[page] = set(browser.execute_script(ANCHORS))
        for link in browser.execute_script(LINKS):
            if not link.startswith(start):
                continue
            wanted.setdefault(link, set()).add(page)
            target = urldefrag(link).url
            if target not in distance and target.endswith(".html"):
                distance[target] = distance[page] + 1
                waiting.append(target)
    for link, pages in wanted.items():
        target, anchor = urldefrag(link)
        if anchor and target in anchors and unquote(anchor) not in anchors[target]:
            found.append(f"{link}, linked from {min(pages)}: there is no such anchor")
    return distance, found


def seen(browser: Any, page: str, name: str, pictures: Path | None) -> Iterator[str]:
    """Yield what is wrong with a page in any width, by day or by night; take pictures of it."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            show(browser, page, width, scheme)
            where = f"{name}, {width} pixels, {scheme}"
            if more := browser.execute_script(WIDER):
                yield f"{where}: {more} pixels wider than the screen"
            yield from (f"{where}: {address} is missing" for address in browser.execute_script(MISSING))
            yield from (f"{where}: {entry['message']}" for entry in browser.get_log("browser"))
            if pictures is not None:
                height = browser.execute_script("return document.documentElement.scrollHeight")
                clip = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST), "scale": 1}
                told = {"captureBeyondViewport": True, "clip": clip}
                data = browser.execute_cdp_cmd("Page.captureScreenshot", told)["data"]
                file = pictures / f"{name.replace('/', '-')}-{width}-{scheme}.png"
                file.write_bytes(base64.b64decode(data))


def main() -> None:
    """Look at all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=ROOT / "site")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each page in each form")
    args = parser.parse_args()
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
    with served(args.site) as start, browsing() as browser:
        distance, found = follow(browser, start)
        names = {page: page.removeprefix(start).removesuffix(".html") for page in distance}
        for page, name in names.items():
            if "/commands/" in page and distance[page] > MOST_LINKS:
                found.append(f"{name} is {distance[page]} links from the first page")
            found += seen(browser, page, name, args.pictures)
    commands = {
        f"reference/commands/{path.name}" for path in (args.site / "reference/commands").glob("*.html")
    }
    found += sorted(
        f"no link leads to {one}" for one in commands - {f"{name}.html" for name in names.values()}
    )
    print(f"{len(names)} pages, {len(commands)} of them of commands", *found, sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
