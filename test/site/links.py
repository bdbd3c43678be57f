#!/usr/bin/env python3
"""Every link of the built site leads somewhere, anchors too: links.py SITE"""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import html.parser
import pathlib
import sys
import urllib.parse

SITE = pathlib.Path(sys.argv[1]).resolve()


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.path = path
        self.ids = set()
        self.repeated = set()
        self.links = []  # (address, is it to be followed by a reader?)
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        name = of.get("id")
        if name:
            (self.repeated if name in self.ids else self.ids).add(name)
        for key in ("href", "src"):
            if of.get(key) is not None and of.get("rel") != "canonical":
                self.links.append((of[key], tag == "a"))

    handle_startendtag = handle_starttag


def main():
    pages = {path: Page(path) for path in SITE.rglob("*.html")}
    faults, links = [], 0
    for path, page in pages.items():
        name = path.relative_to(SITE)
        faults += [f"{name}: two elements have the id {each}" for each in page.repeated
                   if not each.startswith("__")]
        for address, _ in page.links:
            parts = urllib.parse.urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            links += 1
            if name.name == "404.html":
                target = SITE / parts.path.lstrip("/")  # its links are absolute
            else:
                target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
            if not parts.path:
                target = path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                faults.append(f"{name}: {address} does not exist")
            elif parts.fragment and target.suffix == ".html" and (
                    urllib.parse.unquote(parts.fragment) not in pages[target].ids):
                faults.append(f"{name}: {address} has no such place")
    for fault in faults:
        print(fault)
    print(f"{links} links in {len(pages)} pages")
    if len(pages) < 80 or links < 2000:
        faults.append("that is not the whole site")
        print(faults[-1])
    print(f"{int(not faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


sys.exit(main())
