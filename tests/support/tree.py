"""The files of this repository, for tests about the code itself."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = {"blazeio": "blazeio", "blazeio_supervisor": "supervisor/blazeio_supervisor"}
"""Import name and folder of each package."""
GENERATED = {"__pycache__", "build", "dist", "htmlcov"}
VISIBLE_DOT_NAMES = {".ci", ".gitignore"}


@dataclass(frozen=True, slots=True)
class Module:
    """One Python module of a package.

    Attributes:
        name: As imported.
        path: Its file.
    """

    name: str
    path: Path

    @property
    def place(self) -> PurePosixPath:
        """Its path from the repository's root."""
        return PurePosixPath(self.path.relative_to(REPOSITORY))

    def parse(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.path.read_text(), str(self.path))


def iterate_modules() -> Iterator[Module]:
    """Every module of both packages, ``__init__`` and ``__main__`` too."""
    for name, folder in PACKAGES.items():
        root = REPOSITORY / folder
        for path in sorted(root.rglob("*.py")):
            parts = [name, *path.relative_to(root).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            yield Module(".".join(parts), path)


def iterate_files() -> Iterator[Path]:
    """Every file that is, or is about to be, committed."""
    folders = [REPOSITORY]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in VISIBLE_DOT_NAMES
            if hidden or path.name in GENERATED or path.suffix == ".egg-info":
                continue
            if path.is_dir():
                folders.append(path)
            else:
                yield path


def iterate_texts() -> Iterator[tuple[PurePosixPath, str]]:
    """Place and content of every such file that is text."""
    for path in iterate_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        yield PurePosixPath(path.relative_to(REPOSITORY)), text


def iterate_imports(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Iterate over the imports that run when the module is imported.

    Those within functions run later, those under TYPE_CHECKING never.
    """
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from iterate_imports(node.body)
            yield from iterate_imports(node.orelse)
        elif isinstance(node, ast.Try):
            for part in (node.body, node.orelse, node.finalbody):
                yield from iterate_imports(part)
            for handler in node.handlers:
                yield from iterate_imports(handler.body)


def list_imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return every dotted name that may be a module which the import loads."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    module = node.module or ""
    return [module, *(f"{module}.{alias.name}" for alias in node.names)]


def build_import_graph() -> dict[str, set[str]]:
    """Return for each module of both packages those that its import loads."""
    modules = {each.name: each for each in iterate_modules()}
    return {
        name: {
            imported
            for node in iterate_imports(module.parse().body)
            for imported in list_imported(node)
            if imported in modules and imported != name
        }
        for name, module in modules.items()
    }


def find_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return each group of nodes that reach one another, sorted.

    Args:
        graph: For each node those to which it leads; all of them are keys.
    """
    reached = {node: _find_reached(node, graph) for node in graph}
    cycles = {
        tuple(sorted(other for other in reached[node] if node in reached[other]))
        for node in graph
        if node in reached[node]
    }
    return [list(cycle) for cycle in sorted(cycles)]


def _find_reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found
