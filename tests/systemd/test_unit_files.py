"""The files themselves, by ``systemd-analyze``: nothing is booted."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import find_program
from tests.systemd.machine import UNITS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units of an instance, whose program exists."""
    for kind in ("service", "socket"):
        text = (UNITS / f"blazeio@.{kind}").read_text()
        text = text.replace("/opt/blazeio/%i/bin/blazeio-supervisor", "/bin/true")
        (tmp_path / f"blazeio@web.{kind}").write_text(text)
    return tmp_path


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [find_program("systemd-analyze"), *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )


def add_drop_in(folder: Path, name: str) -> None:
    drop_ins = folder / "blazeio@web.service.d"
    drop_ins.mkdir()
    shutil.copy(UNITS / "drop-ins" / name, drop_ins)


def measure_exposure(folder: Path) -> float:
    done = analyze(folder, "security", "--offline=true", "./blazeio@web.service")
    found = re.search(r"exposure level for .*: ([\d.]+) ", done.stdout)
    assert found is not None, done.stderr
    return float(found[1])


def test_both_are_without_fault(folder: Path) -> None:
    units = ["./blazeio@web.service", "./blazeio@web.socket"]
    done = analyze(folder, "verify", "--recursive-errors=one", *units)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exposure_is_low(folder: Path) -> None:
    assert measure_exposure(folder) <= 0.9


def test_the_exposure_is_low_in_public_too(folder: Path) -> None:
    add_drop_in(folder, "public.conf")
    assert measure_exposure(folder) <= 1.1


def test_every_directive_stands_below_a_reason() -> None:
    lines = (UNITS / "blazeio@.service").read_text().splitlines()
    service = lines[lines.index("[Service]") : lines.index("[Install]")]
    groups = "\n".join(service).split("\n\n")
    assert all("#" in group for group in groups if "=" in group)
