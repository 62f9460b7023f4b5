"""Programs, and virtual environments that know nothing of the clone."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.support.tree import REPOSITORY


def run(
    *command: str | Path,
    code: int = 0,
    cwd: Path = REPOSITORY,
    timeout_s: float = 50,
) -> str:
    """Run a program; return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


class Elsewhere:
    """A virtual environment that has the dependencies, and nothing of the clone."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        site = run(
            self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
        )
        # Its .pth files, such as that of an editable installation, count for nothing.
        dependencies = Path(site.strip()) / "dependencies.pth"
        dependencies.write_text(sysconfig.get_path("purelib") + "\n")

    def pip(self, *words: str | Path) -> None:
        verb, *rest = words
        own = ("--no-index", "--no-deps") if verb == "install" else ()
        run(sys.executable, "-m", "pip", "--python", self.python, verb, *own, *rest)
