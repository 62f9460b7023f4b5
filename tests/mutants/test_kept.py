"""A run of mutants that is ended loses nothing, and can go on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.kept import NOTICED, SURVIVED, UNREACHED, Journal, Outcome, sum_up
from tests.support.clock import block_until
from tests.support.tree import REPOSITORY

FIRST = Outcome("a.py", "f", "return 1", NOTICED)
SECOND = Outcome("a.py", "f", "return 2", SURVIVED)


def end_a_run(path: Path) -> None:
    ended = Journal(path, "same")
    assert ended.begin(resumes=False) == {}
    ended.note(0, FIRST)
    ended.note(2, SECOND)


def test_a_run_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "build/journal"
    end_a_run(path)
    resumed = Journal(path, "same")
    assert resumed.begin(resumes=True) == {0: FIRST, 2: SECOND}
    resumed.note(1, SECOND)
    again = Journal(path, "same").begin(resumes=True)
    assert again == {0: FIRST, 1: SECOND, 2: SECOND}
    resumed.end()
    assert not path.exists()


def test_nothing_is_believed_once_a_file_has_changed(tmp_path: Path) -> None:
    end_a_run(tmp_path / "build/journal")
    assert Journal(tmp_path / "build/journal", "other").begin(resumes=True) == {}
    assert (tmp_path / "build/journal").read_text() == '["other"]\n'


def test_a_run_that_does_not_resume_begins_anew(tmp_path: Path) -> None:
    end_a_run(tmp_path / "build/journal")
    assert Journal(tmp_path / "build/journal", "same").begin(resumes=False) == {}


def test_a_line_that_was_cut_off_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "build/journal"
    end_a_run(path)
    path.write_text(path.read_text()[:-5])
    assert Journal(path, "same").begin(resumes=True) == {0: FIRST}


def test_the_digest_is_of_each_file_and_of_the_words(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"1")
    other.write_bytes(b"2")
    first = sum_up([path, other], "content")
    assert sum_up([other, path], "content") == first
    assert sum_up([path, other], "client") != first
    other.write_bytes(b"3")
    assert sum_up([path, other], "content") != first


@pytest.mark.long
def test_a_run_is_ended_and_resumed() -> None:
    pytest.importorskip("mutmut")
    command = [sys.executable, "-m", "tests.mutants", "blazeio/client/states.py"]

    def list_journals() -> list[Path]:
        return [
            path
            for path in (REPOSITORY / "build").glob("mutants-*.jsonl")
            if "blazeio/client/states.py" in path.read_text()
        ]

    for left in list_journals():
        left.unlink()
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as run:
        block_until(list_journals, timeout_s=60)
        run.send_signal(signal.SIGKILL)
    (journal,) = list_journals()
    head, first, *_ = journal.read_text().splitlines()
    number, *words, _ = json.loads(first)
    believed = [number, *words, UNREACHED]
    journal.write_text(f"{head}\n{json.dumps(believed)}\n")
    done = subprocess.run(
        [*command, "--resume"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert f"{UNREACHED}: {': '.join(words)}" in done.stdout
    assert " noticed" in done.stdout
    assert list_journals() == []
