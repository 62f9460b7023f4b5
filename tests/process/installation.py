"""A copy of both packages that a test may change under a running service."""

import shutil
from pathlib import Path

from tests.support.live import REPOSITORY

IN_EARNEST = """
import json, sys
if json.loads(sys.argv[1])["result_fd"] is None:
"""
"""Begins what new code does only after its rehearsal, in the place of the old."""


class Installation:
    """Both packages in a folder, which comes first on the path of whoever uses it.

    Attributes:
        env: Makes a program use it.
    """

    def __init__(self, site: Path) -> None:
        # With what was compiled of them, which fits: a copy has the same times.
        shutil.copytree(REPOSITORY / "blazeio", site / "blazeio")
        self._package = site / "blazeio_supervisor"
        source = REPOSITORY / "supervisor" / "blazeio_supervisor"
        shutil.copytree(source, self._package)
        self.env = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": ""}
        self._whole: dict[Path, str] = {}

    def change(self, file: str, old: str, new: str) -> None:
        """Replace words of a file of the supervisor."""
        path = self._package / file
        code = self._whole.setdefault(path, path.read_text())
        assert old in code
        path.write_text(code.replace(old, new))

    def append(self, file: str, code: str) -> None:
        path = self._package / file
        whole = self._whole.setdefault(path, path.read_text())
        path.write_text(whole + code)

    def ruin(self) -> None:
        """Have no file of them be what it was: each raises when it is imported."""
        for package in (self._package, self._package.parent / "blazeio"):
            for path in package.rglob("*.py*"):
                if path.suffix == ".py":
                    path.write_text("raise ImportError('ruined')\n")
                else:
                    path.unlink()

    def mend(self) -> None:
        """Undo every change."""
        for path, code in self._whole.items():
            path.write_text(code)
        self._whole.clear()
