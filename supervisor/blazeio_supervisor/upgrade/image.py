"""The running program, kept so that it can be started again from memory.

The packages on the disk are replaced while the master runs. What it was made of
is therefore kept: every source file outside of the standard library, with what
was compiled of it, in one sealed archive; each C extension and the interpreter by
an open descriptor. (An extension is mapped by this process: whoever overwrites
one in place, instead of replacing it, breaks every running process anyway.
Nothing maps a source file.)

The standard library is not kept: it belongs to the interpreter.
"""

import fcntl
import io
import os
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.metadata import PackageNotFoundError, version

import msgspec

from blazeio_supervisor.upgrade import stage0

_SEALS = (
    fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
)
_STDLIB, _SITE = (
    tuple(sysconfig.get_path(key) + os.sep for key in keys)
    for keys in (("stdlib", "platstdlib"), ("purelib", "platlib"))
)
_LEVEL = 1  # of deflate: a third of the size; higher ones give little more


class KeptImage(msgspec.Struct, frozen=True, kw_only=True):
    """The program by descriptors, none of which is inherited.

    Attributes:
        archive_fd: The sources as a zip file, stage 0 among them.
        interpreter_fd: The running one.
        extensions: C extensions by the module's full name.
        home: Where that interpreter's standard library is.
        program: The version of blazeio.
    """

    archive_fd: int
    interpreter_fd: int
    extensions: dict[str, int]
    home: str
    program: str

    def list_fds(self) -> list[int]:
        """List every descriptor."""
        return [self.archive_fd, self.interpreter_fd, *self.extensions.values()]


def keep_image() -> KeptImage:
    """Keep what this process has imported by now.

    Raises:
        OSError: A file is gone already, or the system has no room.
    """
    import_module(stage0.ENTRY)  # used by no image but one that has come back
    archive = io.BytesIO()
    extensions: dict[str, int] = {}
    with zipfile.ZipFile(
        archive,
        "w",
        zipfile.ZIP_DEFLATED,
        compresslevel=_LEVEL,
        strict_timestamps=False,  # reproducible builds have files of 1970
    ) as z:
        z.write(stage0.__file__, "__main__.py")
        for name, spec in _list_specs():
            place, path = name.replace(".", "/"), spec.origin
            if path is None:
                z.mkdir(place)  # a namespace: a package without a file of its own
            elif isinstance(spec.loader, ExtensionFileLoader):
                extensions[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                is_package = spec.submodule_search_locations is not None
                place = f"{place}/__init__.py" if is_package else f"{place}.py"
                z.write(path, place)
                if spec.cached is not None and os.path.exists(spec.cached):
                    z.write(spec.cached, f"{place}c")  # used if it fits the source
    return KeptImage(
        archive_fd=seal("blazeio-image", archive.getbuffer()),
        interpreter_fd=os.open("/proc/self/exe", os.O_RDONLY | os.O_CLOEXEC),
        extensions=extensions,
        home=f"{sys.base_prefix}:{sys.base_exec_prefix}",
        program=find_program(),
    )


def find_program() -> str:
    """Give the version of blazeio, as installed."""
    try:
        return version("blazeio")
    except PackageNotFoundError:  # run from a folder, without an installation
        return "of unknown version"


def seal(name: str, octets: bytes | memoryview) -> int:
    """Put octets into memory that nobody can change; give its descriptor."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(octets)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _list_specs() -> Iterator[tuple[str, ModuleSpec]]:
    """List every module that is not the interpreter's own, by its full name."""
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        is_program = name == "__main__"  # of which nothing is needed again
        if spec is not None and not is_program and not _is_of_interpreter(spec):
            yield name, spec


def _is_of_interpreter(spec: ModuleSpec) -> bool:
    if not spec.has_location:
        return spec.submodule_search_locations is None
    place = str(spec.origin)
    return place.startswith(_STDLIB) and not place.startswith(_SITE)
