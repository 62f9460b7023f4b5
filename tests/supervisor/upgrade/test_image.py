import fcntl
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from blazeio_supervisor.upgrade import arrival, stage0
from blazeio_supervisor.upgrade.image import KeptImage, seal


def open_archive(image: KeptImage) -> zipfile.ZipFile:
    with open(f"/proc/self/fd/{image.archive_fd}", "rb") as file:
        return zipfile.ZipFile(io.BytesIO(file.read()))


def test_the_archive_has_every_source_that_is_imported(image: KeptImage) -> None:
    with open_archive(image) as archive:
        names = set(archive.namelist())
        code = archive.read("blazeio_supervisor/upgrade/arrival.py")
    assert code == Path(arrival.__file__).read_bytes()
    assert {"blazeio/__init__.py", "msgspec/__init__.py"} <= names
    assert not {"os.py", "asyncio/__init__.py"} & names


def test_stage_0_is_its_program(image: KeptImage) -> None:
    with open_archive(image) as archive:
        assert archive.read("__main__.py") == Path(stage0.__file__).read_bytes()


def test_extensions_and_interpreter_are_kept_by_descriptor(image: KeptImage) -> None:
    core = sys.modules["msgspec._core"].__file__
    assert core is not None
    assert os.path.samestat(os.fstat(image.extensions["msgspec._core"]), os.stat(core))
    running = os.stat("/proc/self/exe")
    assert os.path.samestat(os.fstat(image.interpreter_fd), running)
    assert not any(os.get_inheritable(fd) for fd in image.list_fds())


def test_what_is_sealed_can_be_read_and_never_changed() -> None:
    fd = seal("test", b"octets")
    assert os.pread(fd, 100, 0) == b"octets"
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0)
    os.close(fd)
