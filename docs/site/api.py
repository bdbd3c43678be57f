#!/usr/bin/env python3
"""Makes the pages of the API reference from Doxygen's XML: api.py XML PAGES

Prints what the reference lacks and exits with 1 if there is any: a public name without a
description, a function that may throw and does not say what, a class of shared memory that does not
say how it behaves between processes and after a kill."""
# SPDX-FileCopyrightText: The cohold authors
# SPDX-License-Identifier: MIT
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
# The rooms as the reference lists them, and which headers stand first in each.
ROOMS = {
    "handle": "Segments and handles",
    "container": "Containers and queues",
    "sync": "Locks and signals",
    "policy": "Policies",
    "type": "Types in shared memory",
    "inspect": "Looking from outside",
    "": "Errors, configuration, version",
}
FIRST = ["segment.hpp", "shared.hpp", "memory_object.hpp", "shm_vector.hpp", "shm_string.hpp",
         "shm_map.hpp", "shm_set.hpp", "shm_hash_map.hpp", "shm_hash_set.hpp", "shm_queue.hpp",
         "shm_mutex.hpp", "shm_shared_mutex.hpp", "shm_guarded.hpp", "mechanism.hpp", "naming.hpp",
         "permission.hpp", "shareable.hpp", "offset_ptr.hpp", "error.hpp"]
# What a description says under a label of its own, and how the label is shown.
FACETS = [("Errors", "Errors"), ("Complexity", "Complexity"),
          ("Thread and process safety", "Thread and process safety"),
          ("Thread safety", "Thread safety"), ("Process safety", "Process safety"),
          (r"If (?:the|a) process is killed", "After a kill")]
FACET = re.compile(r"(?:(?<=^)|(?<=[.)] )|(?<=\n))\**(" + "|".join(f for f, _ in FACETS)
                   + r")\**((?:,? (?:[^.:*\n]|::){1,100})?)\**(?<!:):(?!:)\**\s*", re.MULTILINE)
# What is a name in a comment: an underscore, a scope or parentheses are in it.
NAME = re.compile(r"((?<![\w./-])(?:[a-z]\w*::)*[A-Za-z]\w*\(\)|(?<![\w./-])(?:[a-z]\w*::)+[A-Za-z]\w*"
                  r"|(?<![\w./-])[A-Za-z][A-Za-z0-9]*_\w+(?![\w/.-]*/))")
WORDS = {"x86_64"}
STANDARD = json.loads((HERE / "standard.json").read_text())
CONFIGURATION = (HERE.parent / "configuration.md").read_text()
faults = []


def policy_members():
    """The members of policies, from the tables in the comments on their concepts."""
    found = {}
    for name in ("mechanism", "naming", "permission"):
        text = (INCLUDE / f"cohold/policy/{name}.hpp").read_text()
        for member, meaning in re.findall(r"^/// \| `\w::(\w+).*` \| .* \| (.*) \|$", text, re.MULTILINE):
            found.setdefault(member, meaning[0].upper() + meaning[1:].rstrip(".") + ".")
    return found


def error_meanings():
    """What each errc says, and the condition that it equals."""
    text = (INCLUDE / "cohold/error.hpp").read_text()
    return {name: "".join(re.findall(r'"(.*?)"', words)) + f" (`std::errc::{condition}`)"
            for name, condition, words in re.findall(
                r'\{errc::(\w+), std::errc::(\w+),\s*((?:"[^"]*"\s*)+)\}', text)}


POLICY = policy_members()


def is_public(file):
    """As test/tree.py: neither a room that is internal nor a detail of another."""
    parts = pathlib.PurePath(file).parts
    return parts[0] == "cohold" and "detail" not in parts and not {"os", "engine"} & set(parts)


def plain(element):
    return re.sub(r"\s+", " ", "".join(element.itertext())).strip() if element is not None else ""


def escaped(text):
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def tidy(code):
    """A declaration as the headers would have it, not as Doxygen spaces it."""
    code = re.sub(r"\s+", " ", code).strip()
    code = re.sub(r"< | >", lambda at: at[0].strip(), code)
    code = re.sub(r"(\w|>) ([&*]+)(?! *=)", r"\1\2", code)
    code = re.sub(r"([&*])(\w)", r"\1 \2", code) if "operator" not in code else code
    code = re.sub(r"([\w)])=(?=[\w{(:])", r"\1 = ", code)
    code = code.replace("(& ", "(&").replace("char(", "char (")
    return re.sub(r"\boperator (?=[^\w\s])", "operator", code)


class Reference:
    def __init__(self, xml):
        self.compounds = {}
        for entry in ET.parse(xml / "index.xml").getroot():
            compound = ET.parse(xml / (entry.get("refid") + ".xml")).getroot()[0]
            self.compounds[entry.get("refid")] = compound
        self.details = {c.findtext("compoundname").split("::")[-1].split("<")[0]: c
                        for c in self.compounds.values() if c.get("kind") in ("class", "struct")
                        and re.fullmatch(r"cohold::detail::\w+", c.findtext("compoundname"))}
        self.aliases = {m.findtext("name"): plain(m.find("type"))
                        for c in self.compounds.values() if c.findtext("compoundname") == "cohold::detail"
                        for m in c.iter("memberdef") if m.get("kind") == "typedef"}
        self.names = {}  # as comments write them -> id
        self.owner = ""  # the class that is being described
        self.links = {}  # the id of a compound or member -> page#anchor
        self.used = {}  # page -> anchors
        self.page = ""

    # --- Descriptions, as Markdown

    def link(self, refid, text, code):
        shown = f"`{text}`" if code else escaped(text)
        target = self.links.get(refid)
        if target is None:
            return shown
        page, anchor = target.split("#")
        depth = self.page.count("/")
        path = "" if page == self.page else "../" * depth + page
        return f"[{shown}]({path}#{anchor})"

    def prose(self, text):
        """Names in a text, which comments write without marks, become code, and links."""
        parts = []
        for i, part in enumerate(NAME.split(text)):
            if i % 2 == 0 or part.rstrip("()") in WORDS:
                parts.append(escaped(part))
                continue
            name = part.removesuffix("()")
            refid = self.names.get(self.near(name)) or self.names.get(name)
            parts.append(self.link(refid, part, True) if refid else f"`{part}`")
        return "".join(parts)

    def near(self, name):
        """What the name is called in full within the class that is being described."""
        return f"{self.owner}::{name}" if self.owner else name

    def inline(self, element):
        parts = [self.prose(element.text or "")]
        for child in element:
            tag = child.tag
            if tag == "ref":
                parts.append(self.link(child.get("refid"), plain(child), True))
            elif tag == "computeroutput":
                ref = child.find("ref")
                text = plain(child)
                if ref is not None and plain(ref) == text:
                    parts.append(self.link(ref.get("refid"), text, True))
                else:
                    parts.append(f"`` {text} ``" if "`" in text else f"`{text}`")
            elif tag == "emphasis":
                parts.append(f"*{self.inline(child).strip()}*")
            elif tag == "bold":
                parts.append(f"**{self.inline(child).strip()}**")
            elif tag == "ulink":
                parts.append(f"[{self.inline(child)}]({child.get('url')})")
            elif tag == "linebreak":
                parts.append("  \n")
            elif tag in ("ndash", "mdash"):
                parts.append("–")
            elif tag in ("itemizedlist", "orderedlist", "table", "programlisting", "simplesect",
                         "verbatim", "parameterlist", "xrefsect"):
                parts.append("\n\n" + self.block(child) + "\n\n")
            else:
                parts.append(self.inline(child))
            parts.append(self.prose(child.tail or ""))
        return "".join(parts)

    def block(self, element):
        tag = element.tag
        if tag in ("itemizedlist", "orderedlist"):
            return "\n".join("- " + re.sub(r"\n+", "\n    ", self.blocks(item).strip())
                             for item in element)
        if tag == "table":
            rows = [[self.blocks(cell).strip().replace("\n", " ") for cell in row.findall("entry")]
                    for row in element.findall("row")]
            lines = ["| " + " | ".join(row) + " |" for row in rows]
            return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
        if tag == "programlisting":
            lines = []
            for line in element:
                text = ""
                for part in line.iter():
                    text += (part.text or "") + (" " if part.tag == "sp" else "")
                    text += (part.tail or "") if part is not line else ""
                lines.append(text.rstrip())
            return "```cpp\n" + "\n".join(lines) + "\n```"
        if tag == "verbatim":
            return "```\n" + (element.text or "").strip("\n") + "\n```"
        if tag == "simplesect":
            return self.blocks(element)
        raise ValueError(f"a comment has <{tag}>, for which api.py knows no Markdown")

    def blocks(self, element):
        return "\n\n".join(re.sub(r"[ \t]*\n[ \t]*(?=\S)", "\n", self.inline(p)).strip()
                           if p.tag in ("para", "simplesect") else self.block(p)
                           for p in element if p.tag != "title")

    def description(self, element):
        parts = [self.blocks(element.find(part))
                 for part in ("briefdescription", "detaileddescription")
                 if element.find(part) is not None]
        return "\n\n".join(p.strip() for p in parts if p.strip())

    # --- What is public

    def bases(self, compound):
        """The classes of namespace detail whose public members are public here, too."""
        for base in compound.findall("basecompoundref"):
            if base.get("prot") == "public" and "detail::" in base.text:
                inner = self.compounds.get(base.get("refid") or "")
                inner = inner if inner is not None else self.class_in(base.text)
                if inner is not None:
                    yield inner

    def class_in(self, text):
        """The class that a type names, itself or by an alias of namespace detail, whatever the
        arguments and conditions around it."""
        for name in re.findall(r"\w+", text):
            compound = self.details.get(name)
            if compound is not None and any(m.get("kind") == "function" and self.described(m)
                                            for m in self.members(compound)):
                return compound
            if name in self.aliases:
                return self.class_in(self.aliases[name])
        return None

    @staticmethod
    def described(member):
        return plain(member.find("briefdescription")) or plain(member.find("detaileddescription"))

    def members(self, compound, derived=frozenset(), own=""):
        """The public ones, in the order of the source, and then those of the bases."""
        stem = compound.findtext("compoundname").split("::")[-1].split("<")[0]
        found = [m for m in compound.iter("memberdef")
                 if m.get("prot") == "public" and m.get("kind") != "friend"
                 and not is_internal(m, compound)]
        found.sort(key=lambda m: (m.find("location").get("file"),
                                  int(m.find("location").get("line"))))
        if own:  # constructors, assignments and swaps of a base are not for users
            found = [m for m in found if m.findtext("name") not in (stem, "~" + stem, "operator=")
                     and not re.search(rf"\b{stem}\b", plain(m.find("type")) + m.findtext("argsstring"))
                     and signature(m) not in derived and not re.search(
                         r"= ?delete$", m.findtext("argsstring") or "")]
            if compound.findtext("compoundname").count("::") < 2:
                found = []
        yield from found
        hidden = {*derived, *map(signature, found)}
        for base in self.bases(compound):
            for member in self.members(base, hidden, own or stem):
                hidden.add(signature(member))
                yield member


def signature(member):
    """Data and types hide what a base has by the same name; functions, those with the same arguments."""
    if member.get("kind") != "function":
        return member.findtext("name")
    return member.findtext("name") + "".join(plain(p.find("type")) + "," for p in member.findall("param")
                                             ) + str(member.get("const"))


def is_internal(member, compound):
    """Public for other parts of the library alone; or a fact about a type, for the compiler."""
    name, text = member.findtext("name"), plain(member.find("type")) + (
        member.findtext("argsstring") or "") + plain(member.find("templateparamlist"))
    inside = re.search(r"\bdetail::(?!allocator_like|duration|time_point|text_|position_in"
                       r"|multipass|container_comp|key_like|less_comp|path_like)", text)
    if name.startswith("enable_shareable<") or name.startswith("operator<<"):
        return True
    if member.get("kind") == "function" and "->" in (member.findtext("argsstring") or "") and (
            compound.get("kind") == "namespace" and not member.findtext("type")):
        return True  # a deduction guide
    return not Reference.described(member) and bool(inside) and "operator" not in name


def location(element):
    at = element.find("location")
    return at.get("file"), int(at.get("line"))


class Pages(Reference):
    def __init__(self, xml, out):
        super().__init__(xml)
        self.out = out
        self.by_header = {}
        self.sections = {}  # of each header
        self.renamed = set()  # the types that name a class of namespace detail

    def collect(self):
        for compound in self.compounds.values():
            kind, name = compound.get("kind"), compound.findtext("compoundname")
            if kind in ("class", "struct", "union", "concept"):
                if ("detail::" in name or not name.startswith("cohold::")
                        or compound.get("prot") in ("private", "protected")
                        or re.match(r"cohold::(type_description|enable_\w+) ?<", name)):
                    continue
                self.note(location(compound), kind, compound)
            elif kind == "namespace" and "detail" not in name and name.startswith("cohold"):
                for member in compound.iter("memberdef"):
                    if not is_internal(member, compound):
                        self.note(location(member), "member", member, name)
            elif kind == "file":
                for member in compound.iter("memberdef"):
                    if member.get("kind") == "define" and (
                            self.described(member) or f"`{member.findtext('name')}`" in CONFIGURATION):
                        self.note(location(member), "define", member)
        for header in self.by_header:
            self.by_header[header].sort(key=lambda item: item[0])

    def note(self, at, kind, element, scope=""):
        file, line = at
        if is_public(file):
            self.by_header.setdefault(file, []).append((line, kind, element, scope))

    def path(self, header):
        return "api/" + header.removeprefix("cohold/").removesuffix(".hpp") + ".md"

    def anchor(self, text):
        base = re.sub(r"[^\w]+", "-", text.replace("~", "destroy-").replace("==", "equal")
                      .replace("<=>", "compare").replace("=", "assign").replace("[]", "at")
                      .replace("->", "arrow").replace("*", "star").replace("+", "plus")
                      .replace("!", "not").replace("<", "-less")).strip("-").lower()
        used = self.used.setdefault(self.page, set())
        anchor, n = base, 1
        while anchor in used:
            n += 1
            anchor = f"{base}-{n}"
        used.add(anchor)
        return anchor

    # --- Declarations

    def template(self, element):
        params = element.find("templateparamlist")
        if params is None:
            return ""
        texts = []
        for param in params:
            # Concepts and defaults of namespace detail are described in words.
            kind = re.sub(r"^detail::\w+(<.*>)?", "class", plain(param.find("type")))
            name, default = plain(param.find("declname")), plain(param.find("defval"))
            if "detail::" in default:
                default = "/* as it needs */"
            texts.append(f"{kind} {name}".strip() + (f" = {default}" if default else ""))
        line = "template <" + ", ".join(map(tidy, texts)) + ">\n"
        if len(line) > 88:
            line = "template <" + (",\n          ").join(map(tidy, texts)) + ">\n"
        return line if texts else "template <>\n"

    def declaration(self, member):
        kind, name = member.get("kind"), member.findtext("name")
        text = self.template(member)
        requires = plain(member.find("requiresclause"))
        if requires and not re.search(r"detail::|\bForms\b", requires):
            text += f"    requires {tidy(requires)}\n"
        type_ = re.sub(r"detail::synth_three_way_result ?<.*>", "auto", plain(member.find("type")))
        type_ = re.sub(r"\[\[gnu::\w+\]\] ?|\bCOHOLD_\w+ ?", "", type_)
        type_ = re.sub(r"::has_\w+ ", "", type_)  # of a requires clause, which Doxygen has cut
        if kind == "define":
            return f"#define {name}" + (member.findtext("argsstring") or "")
        if kind == "typedef":
            if "detail::" in type_ or not type_ or self.named_detail(member) is not None or (
                    member.get("id") in self.renamed):
                return f"using {name} = /* see below */;"
            return text + f"using {name} = {tidy(type_)};"
        if kind == "variable":
            start = plain(member.find("initializer"))
            return text + tidy(f"{type_} {name}") + (
                " " + start if start and len(start) < 50 and "detail" not in start else "") + ";"
        arguments = tidy(member.findtext("argsstring") or "")
        arguments = re.sub(r"\bCOHOLD_\w+ ?", "", arguments).replace("Name... name", "name_argument name")
        arguments = arguments.replace(" noexcept(!Forms::has_contents)", "")
        prefix = "static " if member.get("static") == "yes" and compound_member(member) else ""
        prefix += "explicit " if member.get("explicit") == "yes" else ""
        head = tidy(f"{prefix}{type_} {name}")
        line = head + arguments + ";"
        if len(line) > 88:
            line = head + broken(arguments, len(head) + 1) + ";"
        return text + line

    # --- Pages

    def write(self):
        for header in self.by_header:  # the anchors first, for the links
            self.page = self.path(header)
            self.sections[header] = self.sections_of(header)
        for header, sections in self.sections.items():
            self.page = self.path(header)
            text = self.header_page(header, sections)
            file = self.out / self.page
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.page = "api/index.md"
        (self.out / self.page).write_text(self.index())

    def sections_of(self, header):
        """[(anchor, title, kind, element, blocks)]; a block is [anchor, name, members]."""
        sections = []
        free = []
        for _, kind, element, scope in self.by_header[header]:
            if kind in ("member", "define"):
                if element.get("kind") != "enum":
                    free.append((element, scope))
                    continue
            name = element.findtext("compoundname") or f"{scope}::{element.findtext('name')}"
            name = tidy(name).removeprefix("cohold::")
            anchor = self.anchor(name)
            self.links[element.get("id")] = f"{self.page}#{anchor}"
            self.names.setdefault(name, element.get("id"))
            self.names.setdefault(name.split("<")[0], element.get("id"))
            if kind == "concept" or element.get("kind") == "enum":
                sections.append((anchor, name, "enum" if kind != "concept" else kind, element, []))
                for value in element.findall("enumvalue"):
                    self.links[value.get("id")] = f"{self.page}#{anchor}"
                    self.names[f"{name}::{value.findtext('name')}"] = value.get("id")
                continue
            groups = grouped(list(self.members(element)))
            sections.append((anchor, name, kind, element, self.anchored(name, groups)))
            for member in [m for members in groups.values() for m in members]:
                inner = self.named_detail(member)
                if inner is not None:  # a public name for a class of namespace detail
                    label = f"{name.split('<')[0]}::{member.findtext('name')}"
                    self.renamed.add(member.get("id"))
                    rename(inner, member.findtext("name"))
                    inner.find("compoundname").text = "cohold::" + label
                    self.links[inner.get("id")] = f"{self.page}#{self.anchor(label)}"
                    sections.append((self.links[inner.get("id")].split("#")[1], label, "class", inner,
                                     self.anchored(label, grouped(list(self.members(inner))))))
        if free:
            groups = {}
            for member, scope in free:
                inner = scope.removeprefix("cohold").removeprefix("::")
                key = (inner + "::" if inner else "") + member.findtext("name")
                groups.setdefault(key, []).append(member)
            sections.append((self.anchor("free"), "", "free", None, self.anchored("", groups)))
        stem = pathlib.PurePath(header).stem  # the class that the header is for stands first
        sections.sort(key=lambda section: re.sub(r"_basic", "", section[1].split("<")[0]) != stem)
        return sections

    def named_detail(self, member):
        """The class in namespace detail that a type of a class is, if that is for users, too."""
        if member.get("kind") != "typedef" or "iterator" in member.findtext("name"):
            return None
        if (member.find("type").text or "").strip():
            return None
        ref = member.find("type/ref")
        inner = self.compounds.get(ref.get("refid")) if ref is not None else None
        if inner is None or "detail::" not in inner.findtext("compoundname") or not (
                self.description(inner)):
            return None
        return inner

    def anchored(self, owner, groups):
        blocks = []
        for name, members in groups.items():
            anchor = self.anchor(f"{owner}-{name}" if owner else name)
            for member in members:
                self.links.setdefault(member.get("id"), f"{self.page}#{anchor}")
                # Members of a shared base are in several classes, each with its own place.
                place = f"{member.get('id')} {owner}"
                self.links[place] = f"{self.page}#{anchor}"
                self.names[f"{owner.split('<')[0]}::{name}" if owner else name] = place
            blocks.append((anchor, name, members))
        return blocks

    def header_page(self, header, sections):
        source = (INCLUDE / header).read_text()
        purpose = re.match(r"((?://(?! SPDX).*\n)+)", source)[1]
        purpose = " ".join(line.removeprefix("//").strip() for line in purpose.splitlines()).strip()
        stem = pathlib.PurePath(header).stem
        lines = [f"# {stem}", "", escaped(purpose), "", f"```cpp\n#include <{header}>\n```", ""]
        for anchor, name, kind, element, blocks in sections:
            self.owner = name.split("<")[0]
            if kind == "free":
                lines += ["## Functions and constants" if len(sections) > 1 else "## Names",
                          ""]
                for inner, label, members in blocks:
                    lines += self.member_block(inner, label, members, "", header)
                continue
            word = "enum class" if kind == "enum" else kind
            lines += [f"## {word} `{name}` {{ #{anchor} }}", ""]
            lines += self.head(kind, name, element)
            text = self.description(element)
            if not text and name.split("::")[-1] in STANDARD["members"]:
                text = STANDARD["members"][name.split("::")[-1]]["text"]
            if not text:
                self.fault(element, f"{name} has no description")
            lines += [faceted(text), ""]
            if kind in ("class", "struct"):
                self.check_class(element, name, blocks, text, header)
            lines += self.types_and_data(name, blocks)
            for inner, label, members in blocks:
                if any(m.get("kind") == "function" for m in members):
                    lines += self.member_block(inner, label, members, name, header, text)
        return "\n".join(lines) + "\n"

    def head(self, kind, name, element):
        if kind == "enum":
            rows = ["| value | meaning |", "|---|---|"]
            meanings = error_meanings() if name == "errc" else {}
            for value in element.findall("enumvalue"):
                text = self.description(value) or meanings.get(value.findtext("name"), "")
                if not text:
                    self.fault(element, f"{name}::{value.findtext('name')} has no description")
                rows.append(f"| `{value.findtext('name')}` | {text} |".replace("\n", " "))
            return ["```cpp\nenum class " + name + ";\n```", "", *rows, ""]
        if kind == "concept":
            code = "".join(element.find("initializer").itertext())
            code = re.sub(r"cohold::(?:detail::)?(?=\w+ =)", "", code.strip())
            # What a policy must have is in its description; the expression names internals.
            if "detail::" in code or len(code.splitlines()) > 8:
                code = re.sub(r"=.*", "= /* see below */;", code, flags=re.DOTALL)
            return ["```cpp\n" + code.rstrip("; ") + ";\n```", ""]
        bases = [plain(base) for base in element.findall("basecompoundref")
                 if base.get("prot") == "public" and "detail::" not in base.text]
        return ["```cpp\n" + self.template(element) + f"{kind} {name.split('::')[-1]}"
                + (" : public " + tidy(", ".join(bases)) if bases else "") + ";\n```", ""]

    def types_and_data(self, name, blocks):
        rows = []
        for anchor, label, members in blocks:
            for member in members:
                kind = member.get("kind")
                if kind not in ("typedef", "variable", "enum"):
                    continue
                text = self.description(member) or self.known(label, name).get("text", "")
                if not text:
                    self.fault(member, f"{name}::{label} has no description")
                declared = self.declaration(member).rstrip(";").replace("|", "\\|").replace("\n", " ")
                flat = re.sub(r"\s*\n\s*", " ", text)
                rows.append(f"| <a id=\"{anchor}\"></a>`{declared}` | {flat} |")
        return ["| member | |", "|---|---|", *rows, ""] if rows else []

    def member_block(self, anchor, label, members, owner, header, class_text=""):
        stem = owner.split("::")[-1].split("<")[0]
        title = {stem: "Constructors", "~" + stem: "Destructor"}.get(label, f"`{label}`")
        lines = [f"### {title} {{ #{anchor} }}", ""]
        group, text = [], ""
        told = False

        def flush():
            if group:
                lines.extend(["```cpp", *(self.declaration(m) for m in group), "```", ""])
                if text:
                    lines.extend([faceted(text), ""])

        for member in [m for m in members if m.get("kind") != "typedef" or not owner]:
            mine = self.description(member)
            if mine and mine != text:
                # Overloads before the first description share it.
                if text:
                    flush()
                    group = []
                text = mine
                told = True
            group.append(member)
        standard = self.known(stem_of(label, stem), owner)
        if told and "errors" in standard and not owner and "Errors" not in text:
            text += f" Errors: {standard['errors']}"
        if not told:
            special = {m for m in members
                       if re.search(r"= ?(delete|default)$", m.findtext("argsstring") or "")}
            bare = all(m in special or re.search(r"\bnoexcept\b(?!\()", m.findtext("argsstring") or "")
                       for m in members)
            allocates = any("llocator" in (m.findtext("argsstring") or "") for m in members)
            constructor = stem_of(label, stem) == "constructor"
            if len(special) == len(members) and not label.startswith("~"):
                text = STANDARD["special"]["deleted" if all(
                    "delete" in m.findtext("argsstring") for m in members) else "defaulted"]
            elif standard and (not constructor or allocates or bare):
                text = standard["text"]
                if constructor and not allocates:
                    text = STANDARD["special"]["handle"]
                    standard = {}
                if "errors" in standard and not bare:
                    text += f" Errors: {standard['errors']}"
                if "complexity" in standard:
                    text += f" Complexity: {standard['complexity']}"
            else:
                where = f"{owner}::{label}" if owner else label
                self.fault(members[0], f"{where} has no description")
        flush()
        for member in members:
            if member.get("kind") == "function":
                self.check_errors(member, owner, label, lines, class_text)
        return lines

    def known(self, label, owner):
        """A name that means the same in many classes."""
        if re.match(r"(mechanism|naming|permission)::", owner) and label in POLICY:
            return {**STANDARD["members"].get(label, {}), "text": POLICY[label]}
        return STANDARD["members"].get(label, {})

    def check_errors(self, member, owner, label, lines, class_text):
        """A function that may throw says what, or its class does."""
        arguments = member.findtext("argsstring") or ""
        if (re.search(r"\bnoexcept\b(?!\()|= ?(delete|default)$", arguments) or "error_code" in arguments
                or label.startswith("~") or "noexcept" in label):
            return
        text = "\n".join(lines)
        if re.search(r"Errors|[Tt]hrows|never fails|Like |[Aa]s (for|in|with|`?std|[\[`])|otherwise"
                     r"|^As \w+",
                     text + class_text, re.MULTILINE):
            return
        where = f"{owner}::{label}" if owner else label
        self.fault(member, f"{where} may throw and does not say what")

    def check_class(self, element, name, blocks, text, header):
        """What lives in shared memory, and each handle, says how it behaves between processes."""
        room = pathlib.PurePath(header).parts[1]
        functions = [m for _, _, members in blocks for m in members if m.get("kind") == "function"]
        if "::" in name or not functions or room not in ("sync", "container", "handle"):
            return
        if name.split("<")[0] not in STANDARD["plain"]:
            all_text = text + "".join(self.description(m) for m in functions)
            for wanted, pattern in (("thread or process safety", r"safety|[Tt]hread"),
                                    ("a kill", r"kill|dies|die\b|dead|[Dd]eath"),
                                    ("complexity", r"[Cc]omplexity|constant|system call"),
                                    ("errors", r"Errors|throws|[Ff]ails|never fails|std::")):
                if not re.search(pattern, all_text):
                    self.fault(element, f"{name} says nothing about {wanted}")

    def fault(self, element, text):
        file, line = location(element)
        faults.append(f"include/{file}:{line}: {text}")

    def index(self):
        lines = ["# API reference", "",
                 "Every public name, taken from the comments in the headers. `#include <cohold/cohold.hpp>` "
                 "includes all of them but those for [looking from outside](inspect/usage.md), which "
                 "`<cohold/inspect.hpp>` includes. Everything is in namespace `cohold`.", "",
                 "Functions that can fail have two forms: one throws `cohold::failure`, the other one "
                 "takes a `std::error_code&`. A label that a member lacks (errors, complexity, safety, "
                 "after a kill) is under its class.", ""]
        for room, headers in self.rooms().items():
            lines += [f"## {ROOMS[room]}", "", "| header | names |", "|---|---|"]
            for header in headers:
                page = self.path(header).removeprefix("api/")
                names = [f"[`{name}`]({page}#{anchor})"
                         for anchor, name, kind, _, _ in self.sections[header] if kind != "free"]
                names += [f"[`{label}`]({page}#{inner})"
                          for _, _, kind, _, blocks in self.sections[header] if kind == "free"
                          for inner, label, _ in blocks if not label.startswith("operator")]
                lines.append(f"| [{pathlib.PurePath(header).stem}]({page}) | {', '.join(names)} |")
            lines.append("")
        return "\n".join(lines)

    def rooms(self):
        found = {room: [] for room in ROOMS}
        for header in self.by_header:
            parts = pathlib.PurePath(header).parts
            found[parts[1] if len(parts) > 2 else ""].append(header)
        order = {name: i for i, name in enumerate(FIRST)}
        for room in found:
            found[room].sort(key=lambda h: (order.get(pathlib.PurePath(h).name, 99), h))
        return found


def compound_member(member):
    return not member.get("id").startswith("namespace")


def stem_of(label, stem):
    if label == stem:
        return "constructor"
    if label == "operator bool":
        return "operator_bool"
    if "basic_string_view" in label or label == "operator std::string_view":
        return "basic_string_view"
    return "destructor" if label == "~" + stem else label


def rename(compound, name):
    """Gives a class of namespace detail its public name, also in the declarations of its members."""
    old = compound.findtext("compoundname").split("::")[-1].split("<")[0]
    for element in compound.iter():
        for text in ("text", "tail"):
            if re.search(rf"\b{old}\b", getattr(element, text) or ""):
                setattr(element, text, re.sub(rf"\b{old}\b", name, getattr(element, text)))


def grouped(members):
    groups = {}
    for member in members:
        groups.setdefault(member.findtext("name"), []).append(member)
    return groups


def broken(arguments, indent):
    """One argument a line."""
    depth, parts, start = 0, [], 1
    end = len(arguments)
    for i, c in enumerate(arguments):
        if c in "(<{[":
            depth += 1
        elif c in ")>}]" and arguments[i - 1:i + 1] != "->":
            depth -= 1
            if depth == 0 and c == ")":
                end = i
                break
        elif c == "," and depth == 1:
            parts.append(arguments[start:i])
            start = i + 1
    parts.append(arguments[start:end])
    if len(parts) == 1:
        return arguments
    indent = min(indent, 8)
    return "(\n" + ",\n".join(" " * indent + part.strip() for part in parts) + ")" + arguments[end + 1:]


def faceted(text):
    """Errors, complexity and so on as paragraphs of their own, with a bold label."""
    shown = dict(FACETS)

    def label(found):
        name = next((v for k, v in shown.items() if re.fullmatch(k, found[1])), found[1])
        return f"\n\n**{name}{found[2]}.** "

    text = FACET.sub(label, text)
    text = re.sub(r"(\*\*[\w ]+\.\*\* )([a-z])", lambda at: at[1] + at[2].upper(), text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def main():
    xml, out = map(pathlib.Path, sys.argv[1:])
    pages = Pages(xml, out)
    pages.collect()
    pages.write()
    nav = ["- API reference:", "    - Overview: api/index.md"]
    for room, headers in pages.rooms().items():
        nav.append(f"    - {ROOMS[room]}:")
        for header in headers:
            nav.append(f"        - {pathlib.PurePath(header).stem}: {pages.path(header)}")
    (out / "api.nav").write_text("\n".join(nav) + "\n")
    names = sum(len(blocks) + 1 for sections in pages.sections.values()
                for _, _, _, _, blocks in sections)
    print(f"{len(pages.sections)} headers, {names} names")
    for fault in sorted(set(faults)):
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
