"""How much the code says of its reasons, by room.

    python -m tests.architecture.comment_density

Lines of comments, and of docstrings beyond the summary and without the sections
(Args, Returns ...), for each 100 lines of code.
"""

import ast
import re
import tokenize
from collections import Counter

from tests.support.tree import Module, iterate_modules

SECTIONS = re.compile(r"^\s*(?:Args|Attributes|Returns|Raises|Yields):\s*$")


def count_lines(module: Module) -> Counter[str]:
    """Lines of code, of comments and of reasons in docstrings."""
    counts: Counter[str] = Counter()
    in_docstrings: set[int] = set()
    for text, first, last in iterate_docstrings(module.parse()):
        counts["docstrings"] += count_reasons(text)
        in_docstrings.update(range(first, last + 1))
    with module.path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    of_code: set[int] = set()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            counts["comments"] += 1
        elif token.type not in NO_CODE:
            of_code.update(range(token.start[0], token.end[0] + 1))
    counts["code"] = len(of_code - in_docstrings)
    return counts


NO_CODE = {
    *(tokenize.ENCODING, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT),
    *(tokenize.DEDENT, tokenize.ENDMARKER),
}


def iterate_docstrings(tree: ast.Module) -> list[tuple[str, int, int]]:
    """Text, first and last line of each text that stands alone."""
    return [
        (node.value.value, node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def count_reasons(text: str) -> int:
    """The lines behind the first, without those of a section."""
    count, in_section = 0, False
    for line in text.splitlines()[1:]:
        if SECTIONS.match(line):
            in_section = True
        elif in_section and line.strip() and not line.startswith("        "):
            in_section = line.startswith("    ") and line[4:5] == " "
        count += bool(line.strip()) and not in_section
    return count


def measure_rooms() -> dict[str, Counter[str]]:
    """The lines of each room; the modules beside the rooms are one of their own."""
    rooms: dict[str, Counter[str]] = {}
    for module in iterate_modules():
        package, *below = module.name.split(".")
        is_beside = module.path.parent.name == package
        room = package if is_beside else f"{package}.{below[0]}"
        rooms.setdefault(room, Counter()).update(count_lines(module))
    return rooms


def find_share(counts: Counter[str]) -> float:
    """Lines that say why, for each 100 lines of code."""
    return 100 * (counts["comments"] + counts["docstrings"]) / counts["code"]


def main() -> None:
    for room, counts in sorted(measure_rooms().items()):
        print(
            f"{room:32} {find_share(counts):5.1f}   of {counts['code']:5} lines of "
            f"code: {counts['comments']} of comments, {counts['docstrings']} of "
            "docstrings"
        )


if __name__ == "__main__":
    main()
