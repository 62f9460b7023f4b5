"""The page for man: every option and verb is in it, and roff reads it."""

import re
import subprocess

from blazeio_supervisor.cli.verbs import list_verbs
from blazeio_supervisor.config.settings import OPTIONS
from tests.architecture.documents.manual import escape, write_manual
from tests.support.programs import find_program

MANUAL = write_manual()
PLAIN = MANUAL.replace("\\-", "-")


def test_every_option_and_verb_has_an_entry() -> None:
    entries = re.findall(r"^\.TP\n\\fB(.+)\\fR$", PLAIN, re.MULTILINE)
    names = {word.rstrip(",") for entry in entries for word in entry.split()}
    assert {o.listed_flag for o in OPTIONS if not o.is_argument} - names == set()
    assert list_verbs().keys() - names == set()


def test_what_means_something_to_roff_is_escaped() -> None:
    assert escape(".TH \\n --a") == "\\&.TH \\en \\-\\-a"
    lines = MANUAL.splitlines()
    requests = {line.split()[0] for line in lines if line.startswith(".")}
    assert requests <= {'.\\"', ".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".br"}


def test_groff_has_nothing_to_complain_about() -> None:
    done = subprocess.run(
        [find_program("groff"), "-man", "-Tutf8", "-ww", "-z"],
        input=MANUAL,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
