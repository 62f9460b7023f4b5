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
