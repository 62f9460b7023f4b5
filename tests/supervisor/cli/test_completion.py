"""The verb ``completion``: words that fit, and a real shell that asks for them."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.cli.program import SHELLS, find_words
from blazeio_supervisor.cli.verbs import list_verbs
from tests.supervisor.cli.verb_harness import VerbHarness, invoke

PROGRAM = Path(sys.executable).with_name("blazeio-supervisor")


def words(*typed: str) -> list[str]:
    *args, incomplete = typed
    return [item.value for item in find_words(args, incomplete) if item.type == "plain"]


def test_the_first_word_is_a_verb_or_an_option() -> None:
    assert words("") == list(list_verbs())
    assert words("re") == ["reload", "recycle", "resume", "reopen-logs"]
    assert "--workers" in words("--wor")


def test_where_an_app_may_stand_files_are_offered() -> None:
    assert [item.type for item in find_words([], "app")] == ["file"]


def test_options_are_those_of_the_verb_or_of_the_app() -> None:
    assert words("reload", "--w") == ["--wait"]
    assert words("app:web", "--max-mem") == ["--max-memory"]
    assert "--install" in words("unit", "--in")


def test_a_choice_has_its_words() -> None:
    assert words("completion", "") == [*SHELLS]
    assert words("top", "--sort", "m") == ["memory"]


async def test_slots_are_those_of_the_service(verb_harness: VerbHarness) -> None:
    place = verb_harness.place.text
    found = await asyncio.to_thread(words, "stack", "--control", place, "")
    assert found == ["0", "1", "all"]
    assert await asyncio.to_thread(words, "recycle", "--control", place, "1") == ["1"]


def test_where_no_service_answers_there_are_no_slots(tmp_path: Path) -> None:
    assert words("stack", "--control", str(tmp_path / "c.sock"), "") == ["all"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_this_program(shell: str) -> None:
    script = invoke("completion", shell).output
    assert "_BLAZEIO_SUPERVISOR_COMPLETE" in script
    assert f"{shell}_complete" in script


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_verb_and_an_option(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(invoke("completion", "bash").output)
    lines = [f". {script}"]
    for typed in (["rel"], ["reload", "--wa"]):
        row = " ".join(["blazeio-supervisor", *typed])
        lines += [
            f"COMP_WORDS=({row}); COMP_CWORD={len(typed)}; COMPREPLY=()",
            f"_blazeio_supervisor_completion {PROGRAM}; echo ${{COMPREPLY[@]}}",
        ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        env={**os.environ, "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == ["reload", "--wait"]
