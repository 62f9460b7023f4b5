"""The build hook: a wheel whose ``blazeio.wire`` is compiled, where that is asked for.

    BLAZEIO_COMPILE=1 pip wheel --no-deps .          # or: make wheel COMPILED=1

mypyc makes machine code of the very files that are otherwise run, so there is one
parser, and one truth about what may be smuggled. The wheel has both: the sources for
``BLAZEIO_PURE=1``, and for whoever reads a traceback. Without ``BLAZEIO_COMPILE=1``
nothing is compiled, no compiler is needed, and the wheel is for any machine. An sdist
and an editable installation have nothing compiled in any case.

An own hook, and not hatch-mypyc: that one writes what it makes into the clone, where an
editable installation would find it, and moves pyproject.toml away while it builds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# One version: what is compiled wrongly, and avoided in wire/, is known of this one.
COMPILER = ["mypy[mypyc]==2.4.1", "setuptools>=70", "msgspec>=0.19"]
PURE_MODULES = {
    "__init__",  # classes with keywords
    # A class that cannot be changed, by ways that mypyc does not know; and functions
    # that are given what users wrote, and say what is wrong with it.
    "headers",
}
"""Modules of ``wire`` that are never compiled."""

_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup

modules = mypycify(
    ["--config-file=mypy.ini", *sys.argv[3:]],
    opt_level="3",
    debug_level="0",
    target_dir="c",
    group_name="blazeio.wire.compiled",
)
setup(name="wire", packages=[], ext_modules=modules, script_args=sys.argv[1:3])
"""
_MYPY = """
[mypy]
strict = true
local_partial_types = true
follow_imports = silent
cache_dir = cache
"""


class CompiledWheel(BuildHookInterface[BuilderConfig]):
    """Adds the compiled modules to a wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling."""
        return COMPILER if is_asked() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the files of the wheel are gathered."""
        if not is_asked() or version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="blazeio-compiled-")
        made = compile_wire(Path(self.root), Path(self._folder.name))
        build_data["force_include"].update(
            {str(path): f"blazeio/wire/{path.name}" for path in made}
        )
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(
        self, version: str, build_data: dict[str, Any], artifact_path: str
    ) -> None:
        """Remove what was made on the way."""
        if build_data.get("infer_tag"):
            self._folder.cleanup()


def is_asked() -> bool:
    """Tell whether the environment asks for a compiled wheel."""
    asked = os.environ.get("BLAZEIO_COMPILE") == "1"
    return asked and os.environ.get("BLAZEIO_PURE") != "1"


def compile_wire(root: Path, folder: Path) -> list[Path]:
    """Compile ``blazeio.wire``.

    Args:
        root: The clone, or an sdist; nothing is written there.
        folder: An empty one; it must stay until the result was used.

    Raises:
        SystemExit: It failed; what the compiler said was written to stderr.
    """
    package = folder / "blazeio"
    shutil.copytree(root / "blazeio/wire", package / "wire")
    for path in (root / "blazeio").glob("*.py"):
        shutil.copy(path, package)
    # Types alone matter: the real one leads to all of the framework.
    (package / "__init__.py").write_text("")
    (folder / "mypy.ini").write_text(_MYPY)
    (folder / "setup.py").write_text(_SETUP)
    # Tracebacks name them so: relative to where the package is installed.
    sources = sorted(
        str(path.relative_to(folder))
        for path in (package / "wire").glob("*.py")
        if path.stem not in PURE_MODULES
    )
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace", *sources],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(
            f"{done.stdout}\nblazeio.wire could not be compiled; is gcc there, and "
            "are Python's headers (python3-dev)?"
        )
    return sorted((package / "wire").glob("*.so"))
