"""What an editor completes on ``r`` is what the reference lists, and nothing else."""

import re

from blazeio import BlazeioServerProtocol
from tests.support.tree import REPOSITORY

REFERENCE = (REPOSITORY / "docs/reference/request.md").read_text()
MENTIONED = re.compile(r"`(?:await )?r\.(\w+)")


def test_the_public_names_of_r_are_those_of_the_reference() -> None:
    public = {name for name in dir(BlazeioServerProtocol) if not name.startswith("_")}
    assert set(MENTIONED.findall(REFERENCE)) == public


def test_r_has_no_dict_for_names_that_are_typed_wrongly() -> None:
    assert "__dict__" not in dir(BlazeioServerProtocol)
