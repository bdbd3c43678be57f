#!/usr/bin/env python3
"""Collects what the site is made of: pages.py PAGES, which has the API reference already.

The guide's pages as they are in docs/, the README as the first page; and a page for each file of the
tree to which they link, so that no link leads out of the site. Writes mkdocs.yml next to PAGES."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import pathlib
import posixpath
import re
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The guide, in the order in which a newcomer reads it. Pages of docs/ that are in none of the parts
# follow at the end of the second.
GUIDE = [
    ("Start", ["getting-started", "why-cohold", "recipes", "from-boost", "faq"]),
    ("Guide", ["segments", "containers", "messaging", "synchronisation", "policies", "mapping",
               "passing", "semaphores", "tmpfs", "python", "other-machines"]),
    ("Trust and operate", ["reliability", "errors", "inspection", "debugging", "performance",
                           "configuration"]),
    ("Below", ["linux-shared-memory", "layout", "design"]),
]
LANGUAGES = {".cpp": "cpp", ".hpp": "cpp", ".ipp": "cpp", ".py": "python", ".sh": "bash",
             ".build": "meson", ".txt": "text", ".md": "text"}
FENCE = re.compile(r"^(```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")

CODE = re.compile(r"`[^`\n]+`")


def unescaped(code):
    """GitHub wants a bar in the code of a table escaped; Python-Markdown shows the backslash."""
    return code[0].replace("\\|", "|")


def title(text):
    return re.search(r"^# (.*)$", text, re.MULTILINE)[1]


class Site:
    def __init__(self, out):
        self.out = out
        self.sources = set()  # files and directories of the tree that have a page
        self.pages = {"README.md": "index.md", "CHANGELOG.md": "changes.md",
                      "CONTRIBUTING.md": "contributing.md", "docs/README.md": "guide.md"}
        for page in (ROOT / "docs").glob("*.md"):
            self.pages.setdefault(f"docs/{page.name}", page.name)

    def target(self, path):
        """The page of the site for a file or directory of the tree."""
        if path in self.pages:
            return self.pages[path]
        if (ROOT / path).is_dir():
            self.sources.add(path)
            return f"source/{path}/index.md"
        if pathlib.PurePath(path).suffix in (".svg", ".png", ".json"):
            return path.removeprefix("docs/")
        if path.startswith("single_include/cohold/"):
            return path
        self.sources.add(path)
        return f"source/{path}.md"

    def relinked(self, text, file, page):
        """With links from one page to another instead of from file to file."""
        def link(found):
            path, _, anchor = found[2].partition("#")
            if "://" in path or not path:
                return found[0]
            target = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
            new = posixpath.relpath(self.target(target), posixpath.dirname(page) or ".")
            return found[1] + new + ("#" + anchor if anchor else "") + found[3]

        parts = FENCE.split(text)
        return "".join(part if i % 2 else CODE.sub(unescaped, LINK.sub(link, part))
                       for i, part in enumerate(parts))

    def guide(self):
        for file, page in self.pages.items():
            text = self.relinked((ROOT / file).read_text(), file, page)
            (self.out / page).write_text(text)
        for name in ("diagrams", "benchmarks"):
            if (ROOT / "docs" / name).is_dir():
                shutil.copytree(ROOT / "docs" / name, self.out / name, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("*.md"))
        for name in ("site.css", "site.js"):
            shutil.copy(HERE / name, self.out)
        place = self.out / "single_include/cohold"  # to be copied, not to be read
        place.mkdir(parents=True)
        for file in (ROOT / "single_include/cohold").iterdir():
            shutil.copy(file, place)

    def source_pages(self):
        done = set()
        while self.sources - done:
            for path in sorted(self.sources - done):
                done.add(path)
                if (ROOT / path).is_dir():
                    self.directory(path)
                else:
                    self.file(path)

    def file(self, path):
        text = (ROOT / path).read_text()
        page = self.out / f"source/{path}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        language = LANGUAGES.get(pathlib.PurePath(path).suffix, "text")
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
        page.write_text(f"# {path}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n")

    def directory(self, path):
        page = f"source/{path}/index.md"
        lines = [f"# {path}", ""]
        for entry in sorted((ROOT / path).iterdir()):
            inner = f"{path}/{entry.name}"
            if entry.name.startswith((".", "__")) or entry.suffix in (".expected", ".svg"):
                continue
            to = posixpath.relpath(self.target(inner), posixpath.dirname(page))
            lines.append(f"- [`{entry.name}`]({to})")
        (self.out / page).parent.mkdir(parents=True, exist_ok=True)
        (self.out / page).write_text("\n".join(lines) + "\n")

    def navigation(self):
        listed = {name for _, names in GUIDE for name in names}
        there = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"README"}
        if listed - there:
            raise SystemExit(f"docs/site/pages.py: docs/ has no {sorted(listed - there)}")
        GUIDE[1][1].extend(sorted(there - listed))
        lines = ["nav:", "  - Overview: index.md"]
        for section, names in GUIDE:
            lines.append(f"  - {section}:")
            if section == "Start":
                lines.append("      - What is where, and the words: guide.md")
            for name in names:
                lines.append(f"      - {title((ROOT / 'docs' / (name + '.md')).read_text())}: {name}.md")
        api = (self.out / "api.nav").read_text()
        lines += ["  " + re.sub(r"^( *)", r"\1", line) for line in api.splitlines()]
        lines += ["  - Project:", "      - Changes: changes.md", "      - Contributing: contributing.md"]
        (self.out / "api.nav").unlink()
        config = (HERE / "mkdocs.yml").read_text()
        (self.out.parent / "mkdocs.yml").write_text(
            config + f"docs_dir: {self.out}\n" + "\n".join(lines) + "\n")


def main():
    site = Site(pathlib.Path(sys.argv[1]).resolve())
    site.guide()
    site.source_pages()
    site.navigation()


if __name__ == "__main__":
    main()
