"""What documents have from the code is what the code says now."""

from pathlib import Path

import pytest

import blazeio
from blazeio import BlazeioServerProtocol
from blazeio_supervisor.config.settings import OPTIONS
from tests.architecture.documents.generated import fill, make_documents
from tests.architecture.documents.names import (
    PAGES_OF_IO,
    PAGES_OF_R,
    SECTIONS_OF_R,
    describe,
)
from tests.support.tree import REPOSITORY

DOCUMENTS = make_documents()


@pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_the_document_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == DOCUMENTS[path], "run `make docs`"


def test_each_option_has_its_row() -> None:
    document = (REPOSITORY / "docs" / "reference" / "settings.md").read_text()
    rows = [line for line in document.splitlines() if line[:3] == "| `"]
    assert all(any(f"`{each.listed_flag}" in row for row in rows) for each in OPTIONS)


def test_a_document_without_the_part_is_refused() -> None:
    with pytest.raises(ValueError, match="has no <!-- events: made by"):
        fill("# Events\n", "events", [])


def test_only_the_part_is_written_anew() -> None:
    text = "a\n<!-- x: made by `make docs` -->\nold\n<!-- end of x -->\nb\n"
    assert fill(text, "x", ["new"]) == text.replace("old", "new")


def test_what_is_listed_of_names_is_there() -> None:
    assert set(PAGES_OF_IO) <= set(blazeio.__all__)
    of_r = {name for names in SECTIONS_OF_R.values() for name in names}
    assert of_r | set(PAGES_OF_R) <= set(dir(BlazeioServerProtocol))


def test_a_row_is_of_the_words_that_begin_a_docstring() -> None:
    def make() -> None:
        """Make it.

        ::

            make()

        With ``care``,
        as here.

        And more.

        Raises:
            ValueError: It cannot be.
        """

    assert describe(make) == "Make it. With `care`, as here."
