import pytest

from blazeio_supervisor.config.settings import list_all_options
from blazeio_supervisor.config.sources import Given, choose, read_given
from blazeio_supervisor.errors import UsageError

OPTIONS = tuple(list_all_options())


def given(value: int) -> dict[str, Given]:
    return {"workers": Given(value, value, "here", f"here {value}")}


def test_the_first_source_that_has_it_counts() -> None:
    assert choose(OPTIONS, [{}, given(1), given(2)])["workers"].value == 1


def test_where_nobody_says_it_the_default_counts() -> None:
    chosen = choose(OPTIONS, [])
    assert chosen["steering"].value == "load"
    assert chosen["steering"].is_default
    assert chosen["workers"].written == "auto"


def test_what_must_be_said_has_none() -> None:
    assert "app" not in choose(OPTIONS, [])


@pytest.mark.parametrize(("label", "line"), [("--x 1", "--x 1: no"), ("", "no")])
def test_a_refusal_names_where_it_was_given(label: str, line: str) -> None:
    def refuse(_: object) -> object:
        raise ValueError("no")

    with pytest.raises(UsageError, match=f"^{line}$"):
        read_given(refuse, "1", "here", label)
