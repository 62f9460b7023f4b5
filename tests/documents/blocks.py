"""The code blocks of a document, as its reader sees them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.tree import REPOSITORY, iterate_files

PAGES = [
    path
    for path in iterate_files()
    if path.suffix == ".md"
    and path.relative_to(REPOSITORY).parts[0] in ("docs", "README.md")
]
"""What users read from the top to the end."""
_FENCE = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One code block.

    Attributes:
        line: Of its first fence, from 1.
        language: The first word behind the fence; may be empty.
        title: The name of the file that it is, or None.
        text: What stands between the fences.
    """

    line: int
    language: str
    title: str | None
    text: str


@dataclass(frozen=True)
class Command:
    """What is typed behind a ``$``, and what is shown to follow.

    Attributes:
        typed: With all its lines, where it is continued.
        shown: The lines below it; ``...`` stands for any text.
    """

    typed: str
    shown: str


def name_page(path: Path) -> str:
    """Return its path from the root of the repository."""
    return str(path.relative_to(REPOSITORY))


def iterate_blocks(path: Path) -> Iterator[Block]:
    """Iterate over the code blocks of a document."""
    text = path.read_text()
    for found in _FENCE.finditer(text):
        indent, words, inside = found.groups()
        title = _TITLE.search(words)
        yield Block(
            text.count("\n", 0, found.start()) + 1,
            words.split(" ")[0],
            title and title[1],
            "".join(
                line.removeprefix(indent) for line in inside.splitlines(keepends=True)
            ),
        )


def iterate_commands(block: Block) -> Iterator[Command]:
    """Iterate over the commands of a ``console`` block.

    A line that ends with a backslash, and the lines of a here-document, belong to the
    command above them.
    """
    lines = iter([*block.text.splitlines(), "$ "])
    typed: list[str] = []
    shown: list[str] = []
    for line in lines:
        if not line.startswith("$ "):
            shown.append(line)
            continue
        if typed:
            yield Command("\n".join(typed), "\n".join(shown))
        typed, shown = [line[2:]], []
        ending = re.search(r"<<'?(\w+)'?", line)
        while typed[-1].endswith("\\") or (ending and typed[-1] != ending[1]):
            typed.append(next(lines))
