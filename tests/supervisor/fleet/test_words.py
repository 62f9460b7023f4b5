import pytest

from blazeio_supervisor.fleet.reasons import asked_for, count_of


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 workers"), (1, "1 worker"), (2, "2 workers")]
)
def test_a_noun_follows_its_count(count: int, text: str) -> None:
    assert count_of(count, "worker") == text


def test_who_has_asked_is_named_where_it_is_known() -> None:
    assert asked_for("SIGHUP") == "asked for by SIGHUP"
    assert asked_for("") == "asked for"
