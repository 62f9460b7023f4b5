"""What makes a site of Markdown that is read where it lies in the repository.

The tables of contents are in the order that ``ORDER`` says. Documents outside of docs/
that pages link to become pages; links to other files of the repository become text. The
reference of the Python API is made from the docstrings of ``blazeio.api``.
"""

import importlib
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[2]
OUTSIDE = {
    "systemd/README.md": "more/systemd.md",
    "deploy/README.md": "more/deploy.md",
    "SECURITY.md": "more/security-reports.md",
    "CONTRIBUTING.md": "more/contributing.md",
    "CHANGELOG.md": "more/changelog.md",
    "tests/README.md": "more/tests.md",
}
"""Documents of the repository, and which pages they become."""
ORDER = [
    "index",
    "tutorial",
    "how-to",
    "reference",
    "explanation",
    "coming-from",
    "troubleshooting",
]
"""The tabs of the site, in this order; then the others by name."""
TITLES = {
    "tutorial": "Tutorial",
    "how-to": "How-to",
    "reference": "Reference",
    "explanation": "Explanation",
    "coming-from": "Coming from",
    "more": "More",
}
GROUPS = {
    "The app": ("blazeio.app", "blazeio.files", "blazeio.content", "blazeio.websocket"),
    "The request": ("blazeio.protocol",),
    "The client": ("blazeio.client",),
    "Settings and errors": ("blazeio.limits", "blazeio.errors", "blazeio.server"),
}
"""The pages of the Python API, each with the modules whose public names it has."""
_LINK = re.compile(r"(\[[^\]]*\])\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the documents from outside, and the pages of the Python API."""
    for source, page in OUTSIDE.items():
        text = (REPOSITORY / source).read_text()
        files.append(File.generated(config, page, content=text))
    for number, (title, modules) in enumerate(GROUPS.items()):
        page = f"reference/python-{number}.md"
        files.append(File.generated(config, page, content=_write_group(title, modules)))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """Put the tabs into their order, with their titles."""
    nav.items.sort(key=_rank)
    for item in nav.items:
        if item.is_section:
            item.title = TITLES.get(item.title.lower().replace(" ", "-"), item.title)
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to where their targets are in the site."""
    origin = {made: source for source, made in OUTSIDE.items()}
    own = origin.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def lead(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        place = posixpath.normpath(posixpath.join(posixpath.dirname(own), target))
        made = OUTSIDE.get(place)
        if made is None and place.startswith("docs/"):
            made = place.removeprefix("docs/")
        if made is None or not (made.endswith(".md") or files.get_file_from_path(made)):
            return text[1:-1]
        if files.get_file_from_path(made) is None:
            return text[1:-1]
        start = posixpath.dirname(page.file.src_uri) or "."
        return f"{text}({posixpath.relpath(made, start)}{anchor})"

    return _LINK.sub(lead, markdown)


def _rank(item: Any) -> tuple[int, str]:
    if item.is_page:
        name = posixpath.splitext(item.file.src_uri)[0]
    else:
        name = item.title.lower().replace(" ", "-")
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _write_group(title: str, modules: tuple[str, ...]) -> str:
    front_door = importlib.import_module("blazeio.api")
    lines = [f"# Python: {title.lower()}", ""]
    for name in front_door.__all__:
        value = getattr(front_door, name, None)
        home = getattr(value, "__module__", "")
        if any(home == each or home.startswith(f"{each}.") for each in modules):
            lines += [f"::: {home}.{getattr(value, '__qualname__', name)}", ""]
    return "\n".join(lines)
