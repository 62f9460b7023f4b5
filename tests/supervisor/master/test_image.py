import fcntl
import io
import os
import py_compile
import sys
import zipfile
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

from blazeio_supervisor.master.upgrade import resume, stage0
from blazeio_supervisor.master.upgrade.image import KeptImage, is_compiled, seal


def open_archive(image: KeptImage) -> zipfile.ZipFile:
    with open(f"/proc/self/fd/{image.archive_fd}", "rb") as file:
        return zipfile.ZipFile(io.BytesIO(file.read()))


def test_the_archive_has_every_module_that_is_imported(image: KeptImage) -> None:
    with open_archive(image) as archive:
        names = {name.removesuffix("c") for name in archive.namelist()}
    assert {"blazeio/__init__.py", "msgspec/__init__.py"} <= names
    assert not {"os.py", "asyncio/__init__.py"} & names


def test_a_module_is_kept_once_compiled_where_it_is(image: KeptImage) -> None:
    place = "blazeio_supervisor/master/upgrade/resume.py"
    with open_archive(image) as archive:
        (name,) = {place, f"{place}c"} & set(archive.namelist())
        kept = archive.read(name)
    cached = cache_from_source(resume.__file__)
    is_made = is_compiled(resume.__file__, cached)
    assert name == (f"{place}c" if is_made else place)
    assert kept == Path(cached if is_made else resume.__file__).read_bytes()


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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    return path


def compile_it(
    source: Path, mode: PycInvalidationMode = PycInvalidationMode.TIMESTAMP
) -> Path:
    place = source.with_suffix(".pyc")
    py_compile.compile(str(source), str(place), invalidation_mode=mode)
    return place


def test_what_was_made_of_it_stands_for_it(source: Path) -> None:
    assert is_compiled(str(source), str(compile_it(source)))


def test_what_was_made_of_another_size_does_not(source: Path) -> None:
    made, time_ns = compile_it(source), source.stat().st_mtime_ns
    source.write_text("x = 100\n")
    os.utime(source, ns=(time_ns, time_ns))
    assert not is_compiled(str(source), str(made))


def test_what_was_made_at_another_time_does_not(source: Path) -> None:
    made = compile_it(source)
    os.utime(source, (7, 7))
    assert not is_compiled(str(source), str(made))


@pytest.mark.parametrize(
    ("mode", "stands"),
    [
        (PycInvalidationMode.UNCHECKED_HASH, True),
        (PycInvalidationMode.CHECKED_HASH, False),
    ],
)
def test_by_a_hash_it_stands_where_none_is_compared(
    source: Path, mode: PycInvalidationMode, stands: bool
) -> None:
    made = compile_it(source, mode)
    source.write_text("x = 100\n")
    assert is_compiled(str(source), str(made)) is stands


@pytest.mark.parametrize("octets", [None, b"", b"\0" * 15, b"\0" * 40])
def test_what_cannot_be_run_does_not(source: Path, octets: bytes | None) -> None:
    made = source.with_suffix(".pyc")
    if octets is not None:
        made.write_bytes(octets)
    assert not is_compiled(str(source), str(made))
