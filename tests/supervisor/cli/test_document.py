from blazeio_supervisor.cli.docs import iterate_lines
from blazeio_supervisor.config.sources import OPTIONS
from tests.support.tree import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "settings.md"


def test_the_document_is_up_to_date() -> None:
    made = "\n".join(iterate_lines()) + "\n"
    assert DOCUMENT.read_text() == made, "run `make docs`"


def test_each_option_has_its_row() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line[:3] == "| `"]
    assert all(any(f"`{each.listed_flag}" in row for row in rows) for each in OPTIONS)
