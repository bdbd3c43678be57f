#!/usr/bin/env python3
"""The last step of the site: finish.py SITE. Makes the index of the search smaller, which every page
loads, and fails if a page asks another host for something."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import pathlib
import re
import sys

site = pathlib.Path(sys.argv[1])
index = site / "search/search_index.json"
found = json.loads(index.read_text())
found["docs"] = [doc for doc in found["docs"] if not doc["location"].startswith("source/")]
sections = {doc["location"].split("#")[0] for doc in found["docs"] if "#" in doc["location"]}
for doc in found["docs"]:
    if doc["location"] in sections:  # the text of a page is that of its sections once more
        doc["text"] = doc["text"][:300]
index.write_text(json.dumps(found, separators=(",", ":")))

foreign = []
for page in site.rglob("*.html"):
    for tag in re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*", page.read_text()):
        if re.search(r"(?:href|src)=[\"']?(?:https?:)?//", tag) and "canonical" not in tag:
            foreign.append(f"{page}: {tag}>")
for line in foreign:
    print(line, file=sys.stderr)
sys.exit(1 if foreign else 0)
