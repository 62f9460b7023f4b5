import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from blazeio_supervisor.master.master import name_files, watch_files
from tests.support.clock import wait_until


@asynccontextmanager
async def watching(folder: Path, *patterns: str) -> AsyncIterator[list[str]]:
    """What was told of a folder; it is watched by the time that the block begins."""
    told: list[str] = []
    task = asyncio.create_task(watch_files([str(folder)], patterns, told.append))

    def is_watched() -> bool:
        (folder / "begun.py").touch()
        return bool(told)

    await wait_until(is_watched, 10)
    yield told
    task.cancel()
    await asyncio.wait((task,))


@pytest.mark.slow
async def test_code_is_told_of_and_what_no_person_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "pack").mkdir()
    async with watching(tmp_path, "*.html") as told:
        for name in ("__pycache__/a.py", "a.txt", ".a.py.swp", "a.pyc", "a.py~"):
            (tmp_path / name).write_text("x")
        (tmp_path / "pack" / "page.html").write_text("x")
        await wait_until(lambda: any("pack/page.html" in text for text in told), 10)
        names = {name.rpartition("/")[2] for text in told for name in text.split(", ")}
        assert names <= {"page.html", "begun.py"}


def test_a_few_files_are_named_and_the_others_counted() -> None:
    paths = [f"/srv/app/{name}.py" for name in "abcde"]
    assert name_files(paths[:1], "/srv/app") == "a.py"
    assert name_files(paths, "/srv/app") == "a.py, b.py, c.py, 2 more"
    assert name_files(paths[:1], "/other") == "/srv/app/a.py"
