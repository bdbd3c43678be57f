#!/usr/bin/env python3
"""Reads the built site in a headless Chromium: browser.py SITE [--quick] [SCREENSHOTS]

Every page of the guide and of the reference, and some of the sources: it loads, reports no error on
the console, asks no other host for anything, does not move while it loads, and fits on a phone. The
search works from the keyboard; the scheme can be changed and stays; text is readable in both. --quick: a
third of the pages, each of which takes a second of processor time."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import functools
import http.server
import pathlib
import sys
import tempfile
import threading
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

SITE = pathlib.Path(sys.argv[1]).resolve()
QUICK = "--quick" in sys.argv
PICTURES = next((pathlib.Path(each) for each in sys.argv[2:] if each != "--quick"), None)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
LOOKED_AT = ["index.html", "getting-started.html", "linux-shared-memory.html", "performance.html",
             "api/index.html", "api/container/shm_queue.html"]

# Of each element with text: its colour against what is behind it, by WCAG's formula.
CONTRAST = """
const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const known = {};
const parse = text => known[text] ??= (() => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; })();
const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const faults = new Set();
for (const element of document.querySelectorAll('.md-content *, .md-nav *, .md-header *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!own || !box.width || !box.height || style.visibility !== 'visible' || style.opacity === '0'
        || element.closest('[hidden], .md-search__output, .md-clipboard, .headerlink, svg'))
        continue;
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    let behind = [255, 255, 255];
    for (const layer of layers.reverse()) behind = over(layer, behind);
    const text = over(parse(style.color), behind);
    const [a, b] = [light(text), light(behind)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5))
        faults.add(`${element.tagName.toLowerCase()}.${element.className}: ${ratio.toFixed(2)}`
                   + ` ("${element.textContent.trim().slice(0, 20)}")`);
}
return [...faults].slice(0, 8);
"""
SHIFT = """
const done = arguments[0];
let sum = 0;
new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value; })
    .observe({type: 'layout-shift', buffered: true});
setTimeout(() => done(sum), 60);
"""

faults = []
checks = 0


def check(right, text):
    global checks
    checks += 1
    if not right:
        faults.append(text)
        print("FAIL", text)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Each page has the browser build the index of the search, which takes longer than all the rest: it
    gets an empty one where the search is not what is tested."""
    searched = False

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.searched or not self.path.endswith("/search_index.json"):
            return super().do_GET()
        text = b'{"config":{"lang":["en"],"separator":" "},"docs":[]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                             functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def browser(profile):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--hide-scrollbars", f"--user-data-dir={profile}", "--no-first-run",
                     "--disable-background-networking"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


def width(driver, name):
    wide, high = WIDTHS[name]
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": wide, "height": high, "deviceScaleFactor": 1,
                            "mobile": name == "phone"})


def wait(condition, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    return condition()


def console(driver, page):
    for line in driver.get_log("browser"):
        check(False, f"{page}: the console says: {line['level']} {line['message']}")


def load(driver, base, page):
    driver.get(base + page)
    console(driver, page)
    state = driver.execute_script(
        "return [document.readyState, document.querySelectorAll('h1').length, document.title,"
        " performance.getEntriesByType('resource').map(e => e.name),"
        " [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)]")
    check(state[0] == "complete" and state[1] == 1 and state[2], f"{page}: {state[:3]}")
    foreign = [name for name in state[3] if not name.startswith((base, "data:", "blob:"))]
    check(not foreign, f"{page} asks for {foreign}")
    check(not state[4], f"{page}: no picture {state[4]}")


def every_page(driver, base):
    pages = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    sources = [page for page in pages if page.startswith("source/")]
    pages = [page for page in pages if not page.startswith("source/") and page != "404.html"]
    check(len(pages) > 80, f"only {len(pages)} pages")
    pages += sources[::12]
    if QUICK:
        pages = [page for page in pages if page in LOOKED_AT] + pages[::3]
    for page in pages:
        for name in WIDTHS:
            width(driver, name)
            if name == "desktop" or page in LOOKED_AT:
                load(driver, base, page)
                if not page.startswith(("source/", "api/")) or page in LOOKED_AT:
                    shift = driver.execute_async_script(SHIFT)
                    check(shift < 0.02, f"{page}: its layout shifts by {shift:.3f} on a {name}")
            beyond = driver.execute_script(
                "return document.scrollingElement.scrollWidth - innerWidth")
            check(beyond <= 0, f"{page} is {beyond} pixels wider than a {name}")
    return len(pages)


def scheme(driver):
    return driver.execute_script("return document.body.getAttribute('data-md-color-scheme')")


def change_scheme(driver):
    before = scheme(driver)
    driver.execute_script("document.querySelector('form[data-md-component=palette]"
                          " label:not([hidden])').click()")
    wait(lambda: scheme(driver) != before)
    return before


def schemes(driver, base):
    width(driver, "desktop")
    load(driver, base, "index.html")
    before = change_scheme(driver)
    check(scheme(driver) != before, f"the scheme stays {before}")
    chosen = scheme(driver)
    load(driver, base, "segments.html")
    check(scheme(driver) == chosen, "the scheme does not stay on the next page")
    for _ in range(2):
        for page in LOOKED_AT:
            load(driver, base, page)
            for fault in driver.execute_script(CONTRAST):
                check(False, f"{page}, {scheme(driver)}: hardly readable: {fault}")
        change_scheme(driver)


def type_keys(driver, text):
    driver.switch_to.active_element.send_keys(text)


def search(driver, base):
    """Without a mouse: / opens the search, arrows select, Enter goes there."""
    Quiet.searched = True
    for words, expected in (("try_push_n", "api/container/shm_queue.html"),
                            ("RemoveIPC", "faq.html"),
                            ("cohold::memory_object::grow()", "api/handle/memory_object.html")):
        load(driver, base, "index.html")
        driver.find_element(By.TAG_NAME, "body").send_keys("/")
        focused = wait(lambda: driver.execute_script(
            "return document.activeElement.matches('.md-search__input')"))
        check(focused, "/ does not open the search")
        type_keys(driver, words)
        found = wait(lambda: [e.get_attribute("href") for e in driver.find_elements(
            By.CSS_SELECTOR, ".md-search-result__link")])
        check(any(expected in link for link in found), f"{words} is not found in {expected}: {found}")
        first = found[0].split("?")[0].split("#")[0] if found else ""
        type_keys(driver, Keys.ARROW_DOWN)
        type_keys(driver, Keys.ENTER)
        check(wait(lambda: driver.current_url.split("?")[0].split("#")[0] == first),
              f"Enter does not lead to {first} but to {driver.current_url}")
        console(driver, f"search for {words}")


def pictures(driver, base):
    PICTURES.mkdir(parents=True, exist_ok=True)
    for dark in (False, True):
        for name in WIDTHS:
            width(driver, name)
            for page in LOOKED_AT:
                load(driver, base, page)
                if (scheme(driver) == "slate") != dark:
                    change_scheme(driver)
                time.sleep(0.4)
                file = page.replace("/", "_").replace(".html", "")
                driver.save_screenshot(str(PICTURES / f"{file}.{name}{'.dark' * dark}.png"))


def main():
    server = serve()
    base = f"http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory(prefix="site") as profile:
        driver = browser(profile)
        try:
            count = every_page(driver, base)
            schemes(driver, base)
            search(driver, base)
            if PICTURES:
                Quiet.searched = False
                pictures(driver, base)
        finally:
            driver.quit()
            server.shutdown()
    print(f"{count} pages, {checks} checks")
    print(f"{checks - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


sys.exit(main())
